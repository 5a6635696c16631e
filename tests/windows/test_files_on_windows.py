"""The library's file handling under a Windows Python: files that another process holds open.

Windows refuses to replace or remove an open file, which Linux never does, so these promises can be
broken there alone.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from place import Place

from lorachain.paths import PROJECT_ROOT

# Names for the code below. `held(path, seconds)` keeps a file open in another process.
START = """
import atexit, json, logging, os, pathlib, subprocess, sys, time
from lorachain import checkpoint, files, jsonl
from lorachain.errors import UserError

here = pathlib.Path(sys.argv[1])
logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
PIPES = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
HOLD = '''
import sys, time
file = open(sys.argv[1], "rb")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
'''

def held(path, seconds):
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    process = subprocess.Popen(command, **PIPES)
    atexit.register(process.kill)
    assert process.stdout.readline().strip() == b"held"
    return process

def checkpoints(*steps):
    for step in steps:
        fill = lambda folder: (folder / "state.json").write_text(str(step), encoding="utf-8")
        checkpoint.write(here, step, {"name": "ü"}, fill)

def names():
    return sorted(path.name for path in here.iterdir())
"""


def inside(windows: Place, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return windows.run_code(
        START + code, folder, windows.path(folder), PYTHONPATH=windows.path(PROJECT_ROOT / "src")
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "a run ü & (x86)"
    place.mkdir()
    return place


def test_row_26_a_file_that_is_open_for_a_moment_is_replaced_then(
    windows: Place, folder: Path
) -> None:
    done = inside(
        windows,
        folder,
        """
files.write_json(here / "a.json", {"old": 1})
holder = held(here / "a.json", 0.7)
try:
    os.replace(here / "a.json", here / "b.json")
    print("not refused")
except PermissionError:
    print("refused")
started = time.monotonic()
files.write_json(here / "a.json", {"ü": 2})
print(holder.poll() is not None or time.monotonic() - started >= 0.3)
""",
    )
    assert done.stdout.split() == ["refused", "True"], "the file was not held, or not waited for"
    assert json.loads((folder / "a.json").read_text(encoding="utf-8")) == {"ü": 2}
    assert [path.name for path in folder.iterdir()] == ["a.json"]


def test_row_26_a_file_that_stays_open_is_an_error_and_stays_as_it_was(
    windows: Place, folder: Path
) -> None:
    done = inside(
        windows,
        folder,
        """
files.write_json(here / "a.json", {"old": 1})
holder = held(here / "a.json", 60)
try:
    files.write_json(here / "a.json", {"new": 2})
except PermissionError:
    print("refused")
holder.kill()
""",
    )
    assert done.stdout.split() == ["refused"]
    assert json.loads((folder / "a.json").read_text(encoding="utf-8")) == {"old": 1}
    assert [path.name for path in folder.iterdir()] == ["a.json"], "a temporary file is left"


def test_row_26_a_rotation_that_fails_is_a_warning_and_the_next_one_makes_up_for_it(
    windows: Place, folder: Path
) -> None:
    done = inside(
        windows,
        folder,
        """
checkpoints(9, 10, 100)
holder = held(here / "checkpoint-9" / "state.json", 60)
checkpoint.rotate(here, keep=1)
print(checkpoint.find_latest(here).step)
print(json.dumps(names()))
holder.kill()
holder.wait()
checkpoint.rotate(here, keep=1)
found = checkpoint.find_latest(here)
print(found.step, json.dumps(names()))
""",
    )
    latest, between, end = done.stdout.splitlines()
    assert latest == "100"
    assert "could not be removed now" in done.stderr
    assert "checkpoint-10" not in json.loads(between), "what is not open is removed all the same"
    assert len(json.loads(between)) == 2
    assert end == '100 ["checkpoint-100"]'


def test_row_26_a_damaged_checkpoint_that_is_open_is_passed_over(
    windows: Place, folder: Path
) -> None:
    done = inside(
        windows,
        folder,
        """
checkpoints(1, 2)
(here / "checkpoint-2" / "state.json").write_text("flipped", encoding="utf-8")
holder = held(here / "checkpoint-2" / "state.json", 60)
print(checkpoint.find_latest(here).step)
holder.kill()
holder.wait()
print(checkpoint.find_latest(here).step, json.dumps(names()))
""",
    )
    assert done.stdout.splitlines()[0] == "1"
    assert done.stdout.splitlines()[1] == '1 ["checkpoint-1", "set-aside-1-checkpoint-2"]'


def test_row_25_a_second_run_is_told_and_a_killed_one_locks_nobody_out(
    windows: Place, folder: Path
) -> None:
    done = inside(
        windows,
        folder,
        '''
code = START + """
with files.folder_lock(here, 'The output'):
    print('held', flush=True)
    time.sleep(60)
"""
command = [sys.executable, "-X", "utf8", "-c", code, str(here)]
first = subprocess.Popen(command, **PIPES)
atexit.register(first.kill)
assert first.stdout.readline().strip() == b"held", first.stderr.read()
try:
    with files.folder_lock(here, "The output"):
        print("both")
except UserError as error:
    print(type(error).__name__)
first.kill()
first.wait()
with files.folder_lock(here, "The output"):
    print("free")
'''.replace("START", repr(START), 1),
    )
    # Wine refuses the lock as Windows does, but does not say why.
    assert done.stdout.split() == ["InUse" if windows.prefix is None else "UserError", "free"]


def test_row_18_jsonl_with_bom_and_crlf_and_other_alphabets(windows: Place, folder: Path) -> None:
    (folder / "rows ü.jsonl").write_bytes(
        b"\xef\xbb\xbf" + '{"question": "где?", "answer": "日本"}\r\n\r\n{"a": 1}\r\n'.encode()
    )
    (folder / "bad.jsonl").write_bytes(b'{"a": 1}\r\n{"a": \r\n')
    done = inside(
        windows,
        folder,
        """
rows = jsonl.read_objects(here / "rows ü.jsonl")
print(ascii(rows))
jsonl.write_objects(here / "again.jsonl", [row for _, row in rows])
try:
    jsonl.read_objects(here / "bad.jsonl")
except UserError as error:
    print("bad.jsonl:2: not JSON" in str(error))
""",
    )
    rows = [(1, {"question": "где?", "answer": "日本"}), (3, {"a": 1})]
    assert done.stdout.splitlines() == [ascii(rows), "True"]
    assert (folder / "again.jsonl").read_bytes().count(b"\r") == 0
