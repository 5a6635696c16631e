"""Losses that only show over several versions: a far ancestor's suite is tested against it."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from evaluation_support import lineage_data
from judged_support import BASE, RIGHT, WRONG, Answers, judged

from lorachain import adapters, lineage
from lorachain.config import StageConfig
from lorachain.evaluation.advice import AdviceItem, advise, facts_of, read_rules
from lorachain.evaluation.comparison import Comparison
from lorachain.evaluation.comparison_text import forgetting_text
from lorachain.evaluation.report import render_comparison

N = 60  # items of each suite
FIRST = "generation1_v1"


def lost(count: int) -> Answers:
    return [(WRONG, 8)] * count + [(RIGHT, 8)] * (N - count)


def chain(root: Path, *, without: str = "", **losses: int) -> Comparison:
    """v1 and what stands on it: how many items of v1's suite each has lost. Nothing is replayed.
    `without` is a version that is there and not compared."""
    folders: dict[str, Path] = {}
    for name in losses:
        folder = root / name
        folder.mkdir(parents=True)
        for file in (adapters.WEIGHTS, adapters.CONFIG):
            (folder / file).write_bytes(b"{}")
        data = lineage_data(folder, BASE) | {"config": StageConfig().model_dump(mode="json")}
        data["files"] = {adapters.WEIGHTS: f"sha-{name}"}
        for before in list(folders)[-1:]:
            parent = {"name": before, "path": f"../{before}", "adapter_sha256": f"sha-{before}"}
            data["parent"] = parent
        lineage.write(folder, data)
        folders[name] = folder
    answers = {"base": lost(N), **{name: lost(count) for name, count in losses.items()}}
    answers.pop(without, None)
    return judged(folders=folders, **{FIRST: answers, "other": dict.fromkeys(answers, lost(0))})


def advice(found: Comparison) -> AdviceItem:
    rule = next(rule for rule in read_rules() if rule.id == "forgot_without_replay")
    return advise(found, "v3", [rule])[0]


def test_small_losses_of_two_versions_show_together(tmp_path: Path) -> None:
    """Four items a step are too few to tell; eight over two steps are not."""
    found = chain(tmp_path, v1=0, v2=4, v3=8)
    steps = {(d.earlier, d.later): d.verdict for d in found.differences if d.suite == FIRST}
    assert (steps["v1", "v2"], steps["v2", "v3"]) == ("cannot tell", "cannot tell")
    assert ("v1", "v3") not in steps
    (far,) = found.forgetting
    assert (far.earlier, far.later, far.suite, far.verdict) == ("v1", "v3", FIRST, "worse")
    assert far.value == pytest.approx(found.backward_transfer["v3"][FIRST])
    assert ("v1", "v3") not in {(o.earlier, o.later) for o in found.overall}


def test_the_advice_reads_that_test(tmp_path: Path) -> None:
    found = chain(tmp_path, v1=0, v2=4, v3=8)
    (old,) = facts_of(found, "v3").suites
    assert (old["old_version"].value, old["old_verdict"].value, old["old_n"].value) == (
        *("v1", "worse"),
        N,
    )
    assert facts_of(found, "v3").general["suites_worse"].value == 1
    item = advice(found)
    assert item.holds == "yes" and item.config["replay.share"] == 0.2
    assert "which v1 was trained for" in item.do
    assert any("v3 against v1 on 60 items" in sentence for sentence in item.evidence)


def test_what_was_lost_and_learned_again_is_not_forgotten(tmp_path: Path) -> None:
    found = chain(tmp_path, v1=0, v2=10, v3=0)
    assert found.forgetting[0].verdict == "equivalent"
    assert advice(found).holds == "no"


def test_a_terminal_has_a_line_for_each_loss_near_and_far(tmp_path: Path) -> None:
    shown = forgetting_text(chain(tmp_path, v1=0, v2=4, v3=8)).splitlines()
    assert shown == [
        "Lost on the suites of older versions:",
        "  v3 lost 13 points of generation1_v1 since v1: worse (0 won, 8 lost of 60 items, "
        "p = .008)",
        "  v2 lost 7 points of generation1_v1 since v1: cannot tell (0 won, 4 lost of 60 items, "
        "p = .250)",
    ]
    assert forgetting_text(chain(tmp_path / "kept", v1=4, v2=0)).startswith("No version has lost")
    assert forgetting_text(chain(tmp_path / "first", v1=0)) == ""


def test_a_loss_is_told_since_the_version_that_is_here(tmp_path: Path) -> None:
    """v2 is not compared, so v3 stands on v1 here, and its parent is not asked."""
    found = chain(tmp_path, without="v2", v1=0, v2=4, v3=8)
    assert [(v.name, v.parent, v.stands_on) for v in found.versions[1:]] == [
        ("v1", "base", "base"),
        ("v3", "v2", "v1"),
    ]
    assert "v3 lost 13 points of generation1_v1 since v1: worse" in forgetting_text(found)


def test_the_report_shows_each_change_with_its_test(tmp_path: Path) -> None:
    found = chain(tmp_path, v1=0, v2=4, v3=8)
    page = render_comparison(found, [], title="t")
    part = page[page.index('<section id="forgetting">') : page.index('<section id="differences">')]
    seen = " ".join(unescape(re.sub(r"<[^>]*>", " ", part)).split())
    assert "−7 since v1 cannot tell −13 since v1 worse" in seen
    assert "v3 lost 13 points of generation1_ v1 since v1 Worse. 0 won, 8 lost of 60 items" in seen
    assert '<td class="down" title="0 won, 8 lost' in part
    assert '<td class="" title="From 60 items: 0 won, 4 lost' in part, "it may be chance"


def test_pairs_that_are_compared_anyway_are_tested_once(tmp_path: Path) -> None:
    found = chain(tmp_path, v1=0, v2=4)
    assert list(found.forgetting) == []
    longer = chain(tmp_path / "longer", v1=0, v2=0, v3=0, v4=1)
    assert [(d.earlier, d.later) for d in longer.forgetting] == [("v1", "v3"), ("v1", "v4")]
