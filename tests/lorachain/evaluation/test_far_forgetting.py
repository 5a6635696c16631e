"""Losses that only show over several versions: a far ancestor's suite is tested against it."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_support import lineage_data
from judged_support import BASE, RIGHT, WRONG, Answers, judged

from lorachain import adapters, lineage
from lorachain.config import StageConfig
from lorachain.evaluation.advice import AdviceItem, advise, facts_of, read_rules
from lorachain.evaluation.comparison import Comparison

N = 60
FIRST = "generation1_v1"


def lost(count: int) -> Answers:
    return [(WRONG, 8)] * count + [(RIGHT, 8)] * (N - count)


def chain(root: Path, **losses: int) -> Comparison:
    """v1 and what stands on it: how many items of v1's suite each has lost. Nothing is replayed."""
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


def test_pairs_that_are_compared_anyway_are_tested_once(tmp_path: Path) -> None:
    found = chain(tmp_path, v1=0, v2=4)
    assert list(found.forgetting) == []
    longer = chain(tmp_path / "longer", v1=0, v2=0, v3=0, v4=1)
    assert [(d.earlier, d.later) for d in longer.forgetting] == [("v1", "v3"), ("v1", "v4")]
