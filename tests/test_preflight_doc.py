"""docs/preflight.md is true: its table is that of the code, and its screens are what comes out.

The screens are on data with the shapes of trainings that failed (`seed_shaped`), and on the sample
data; what the machine has to do with (memory, disk) is left out of the comparison.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import seed_shaped
from chain_support import script

from lorachain.paths import PROJECT_ROOT
from lorachain.preflight.finding import RULES, SEVERITIES
from lorachain.training.gate import passing

DOC = (PROJECT_ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")
SCREENS = re.findall(r"```text\n\$ (python [^\n]+)\n\n(.*?)```", DOC, re.DOTALL)
PARTS = ("rows", "tokens", "answers", "schedule", "machine")


def table() -> str:
    """The table of codes as the docs should have it: errors first, then by what is looked at."""
    places = {code: i for i, code in enumerate(RULES)}
    rules = sorted(
        RULES.values(),
        key=lambda r: (SEVERITIES.index(r.severity), PARTS.index(r.part), places[r.code]),
    )
    lines = ["| code | | about | `--allow` |", "|---|---|---|---|"]
    for rule in rules:
        allow = "" if rule.severity != "error" else "yes" if rule.allowable else "no"
        lines.append(f"| `{rule.code}` | {rule.severity} | {rule.about} | {allow} |")
    return "\n".join(lines)


def test_the_table_is_that_of_the_code() -> None:
    assert table() in DOC, f"put this table into docs/preflight.md:\n{table()}"


def test_every_screen_is_run_below() -> None:
    assert len(SCREENS) == 4
    assert all(command.startswith("python scripts/preflight.py ") for command, _ in SCREENS)


def numbers(text: str) -> list[str]:
    """A screen without what depends on the machine and on where the user stands."""
    text = re.sub(r"^  memory .*?(?=^  disk )", "", text, flags=re.MULTILINE | re.DOTALL)
    left = ("  disk ", "Pictures and all rows: ")
    return [line.rstrip() for line in text.splitlines() if not line.startswith(left)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the seeds' data, where the user stands."""
    monkeypatch.setattr(passing, "REPORTS", tmp_path / "reports")
    monkeypatch.chdir(tmp_path)
    seed_shaped.write_envelopes(tmp_path)
    seed_shaped.write_commerce(tmp_path)
    yield tmp_path


@pytest.mark.model
@pytest.mark.parametrize(("command", "said"), SCREENS, ids=["sample", "error", "cut", "commerce"])
def test_a_screen_is_what_comes_out(
    command: str,
    said: str,
    base_dir: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert base_dir.name in command
    argv = shlex.split(command)[2:]
    if "--train-data" not in argv:
        monkeypatch.chdir(PROJECT_ROOT)
    code = script("fine_tune").main([*argv, "--preflight-only"])
    assert code == (2 if "error" in said else 0)
    assert numbers(capsys.readouterr().out) == numbers(said)
