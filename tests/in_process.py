"""A script's `main` in this process, ended as `cli.run` would: imports are paid for once."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from lorachain.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, Interrupted, UserError

log = logging.getLogger("lorachain")


@cache
def module_of(script: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{script.stem}", script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_main(
    script: Path, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a script, run from `folder` with this environment."""
    out, err = io.StringIO(), io.StringIO()
    handler, level = logging.StreamHandler(err), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    patched = mock.patch.dict(os.environ, environment, clear=True)
    code = 0
    try:
        with patched, chdir(folder), redirect_stdout(out), redirect_stderr(err):
            try:
                code = module_of(script).main(list(arguments)) or 0
            except UserError as error:
                print(f"Error: {error}", file=sys.stderr)
                code = EXIT_USER_ERROR
            except Interrupted as stop:
                print(stop, file=sys.stderr)
                code = EXIT_INTERRUPTED
            except SystemExit as stop:  # argparse
                code = int(stop.code or 0)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    return code, out.getvalue(), err.getvalue()
