"""docs/windows.md quotes what the code says, and explains every line that the doctor has."""

from __future__ import annotations

import re
import sys

import pytest

from lorachain.paths import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "windows.md").read_text(encoding="utf-8")
SOURCES = (
    *("scripts/setup_env.py", "scripts/setup_parts/failures.py"),
    *("scripts/setup_parts/torch_build.py", "scripts/setup_parts/environments.py"),
    *("src/lorachain/oserrors.py", "src/lorachain/machine.py", "src/lorachain/models.py"),
    "src/lorachain/training/checkpointing.py",
)


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    part = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    return found[2:]


def said() -> str:
    """All texts of the code in one: neighbouring string literals joined, values as X."""
    text = "\n".join((PROJECT_ROOT / name).read_text(encoding="utf-8") for name in SOURCES)
    text = re.sub(r'"\s*\n\s*f?"', "", text)
    return re.sub(r"\{[^{}]*\}", "X", text)


@pytest.mark.parametrize("row", rows("What it says"), ids=lambda row: row[0][:40])
def test_what_it_says_is_what_the_code_says(row: list[str]) -> None:
    quoted = re.findall(r"`([^`]+)`", row[0])
    assert quoted and row[1].strip()
    for sentence in quoted:
        # The values of an example stand where the code has fields.
        pattern = re.escape(sentence.replace("32-bit Python", "X").replace("516.94", "X"))
        assert re.search(pattern, said()), sentence


def test_every_line_of_the_doctor_is_explained() -> None:
    sys.path.append(str(PROJECT_ROOT / "scripts"))
    code = "".join(
        path.read_text(encoding="utf-8")
        for path in (PROJECT_ROOT / "scripts" / "doctor_parts").glob("*.py")
    )
    checks = set(re.findall(r'(?:Line\(\s*|check\b[^=\n]*= )"([^"]+)"', code))
    explained = {name for row in rows("The doctor") for name in row[0].split(", ")}
    assert {"Python", "NVIDIA driver", "bitsandbytes", "long paths"} <= checks
    # Where the cache is, and which keys are set, is never out of order.
    assert checks - {"model hub", "keys"} == explained


def test_its_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^a-z -]", "", head.lower()).replace(" ", "-")
        for head in re.findall(r"(?m)^#+ (.+)$", TEXT)
    }
    links = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert links and set(links) <= anchors


def test_the_files_that_it_names_are_there() -> None:
    for path in re.findall(r"`((?:tests|scripts|src)/[\w/.]+)`", TEXT):
        assert (PROJECT_ROOT / path).is_file(), path
