"""What every script shares: flags in both spellings, UTF-8 output, logging, exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from lorachain import logcopy
from lorachain.errors import EXIT_INTERRUPTED, EXIT_USER_ERROR, Interrupted, UserError
from lorachain.oserrors import explain

log = logging.getLogger("lorachain")


class ArgumentParser(argparse.ArgumentParser):
    """argparse with long flags that may be spelled with underscores, and no abbreviations.

    An abbreviated flag is refused because it would change its meaning when a flag is added.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args([hyphenated(a) for a in given], namespace)


def hyphenated(argument: str) -> str:
    """`--source_model=a_b` becomes `--source-model=a_b`; everything else stays as it is."""
    if not argument.startswith("--"):
        return argument
    flag, equals, value = argument.partition("=")
    return flag.replace("_", "-") + equals + value


def whole(text: str) -> int:
    """A flag's value that is a whole number from 1 up."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
    return int(text)


def set_up_output(verbose: bool = False) -> None:
    """UTF-8 on both streams whatever the console's code page; log lines go to stderr."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(message)s",
        stream=sys.stderr,
        force=True,
    )
    log.setLevel(logging.DEBUG if verbose else logging.INFO)


def run(main: Callable[[Sequence[str] | None], int | None]) -> NoReturn:
    """Run a script's `main` and exit: 0, 2 for a user's mistake, 130 for Ctrl-C.

    A bug keeps its traceback (exit code 1), because that is what a bug report needs. What the
    operating system refused and a user can mend (a full disk, a file that is open elsewhere) counts
    as a mistake.
    """
    # Idle math threads sleep instead of spinning: on a busy machine that is worth a multiple.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logcopy.begin()
    set_up_output()
    try:
        code = main(None) or 0
        sys.stdout.flush()  # while a reader that has gone away can still be dealt with
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        code = EXIT_USER_ERROR
    except Interrupted as stop:
        print(str(stop), end="\n" if str(stop) else "", file=sys.stderr)  # noqa: T201
        code = EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        code = EXIT_INTERRUPTED
    except BrokenPipeError:  # `script.py | head`: what is left has no reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (OSError, ImportError) as error:
        sentence = explain(error)
        if sentence is None:
            raise
        log.debug("In full:", exc_info=True)
        print(f"Error: {sentence}", file=sys.stderr)  # noqa: T201
        code = EXIT_USER_ERROR
    sys.exit(code)
