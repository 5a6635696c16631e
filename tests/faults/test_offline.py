"""Row 30: no network, and a base that the Hugging Face hub's cache holds."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from chain_support import BASIC
from fault_support import Bench, is_finished

from lorachain.paths import PROJECT_ROOT

NAME, COMMIT = "somebody/tiny-llama", "0123456789abcdef0123456789abcdef01234567"

# The script, in a process that cannot look up a name or connect, and says so where it is tried.
NO_NETWORK = """
import runpy, socket, sys

def refuse(*where, **more):
    print("asked the network:", where, file=sys.stderr)
    raise OSError("there is no network")

socket.getaddrinfo = socket.socket.connect = socket.socket.connect_ex = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_row_30_with_hf_hub_offline_a_run_on_a_cached_base_completes(bench: Bench) -> None:
    cached = bench.folder / "hf" / "hub" / f"models--{NAME.replace('/', '--')}"
    shutil.copytree(bench.place.base, cached / "snapshots" / COMMIT)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(COMMIT, encoding="utf-8")
    done = train(bench, "v1", NAME)
    assert done.returncode == 0, done.stderr
    assert is_finished(bench.folder / "v1")
    assert "asked the network" not in done.stderr


def test_row_30_a_base_that_is_not_cached_is_a_sentence(bench: Bench) -> None:
    done = train(bench, "v1", "somebody/else")
    assert done.returncode == 2, done.stderr
    assert "somebody/else is not on this machine" in done.stderr
    assert "because HF_HUB_OFFLINE is set" in done.stderr
    assert "Traceback" not in done.stderr and "asked the network" not in done.stderr


def train(bench: Bench, output: str, base: str) -> subprocess.CompletedProcess[str]:
    """Version 1 on a hub's base, in a process of its own: the hub's settings are read once."""
    settings = [part for text in BASIC for part in ("--set", text)]
    script = PROJECT_ROOT / "src" / "training" / "fine_tune.py"
    flags = ["--base-model", base, "--output", str(bench.folder / output), *bench.place.data(1)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    home = {"HF_HOME": str(bench.folder / "hf"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, "-c", NO_NETWORK, str(script), *flags, *settings],
        env=kept | home | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
