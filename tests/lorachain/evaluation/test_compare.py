"""A comparison: who is held against whom, what is tested, what broke, and what must be said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import lineage_data

from lorachain import adapters, lineage
from lorachain.errors import UserError
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import Comparison, Difference, Overall
from lorachain.evaluation.evaluate import Evaluation, Version, VersionResult
from lorachain.evaluation.generated import Generated
from lorachain.evaluation.metrics import cluster_labels
from lorachain.evaluation.results import Settings
from lorachain.evaluation.score import Score, Scored
from lorachain.files import write_text
from lorachain.models import Base, Fingerprint
from lorachain.records import Message
from lorachain.suites import Item, Suite

BASE = Base("tiny", Path("/bases/tiny"), Fingerprint("c", "t", "p", "w"))
MADE = Settings(
    *("base", "b1", "t1", {"max_new_tokens": 64, "temperature": 0.0}),
    *("fp32", "none", "cpu", 8, {"torch": "2.13"}),
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
Marks = Mapping[str, Sequence[Any]]  # {version: a mark, a Score or None (no score) for each item}


def suite(name: str, n: int, **known: Any) -> Suite:
    """n items of their own; `task` and `cluster` may be functions of the place."""

    def value(key: str, i: int) -> Any:
        found = known.get(key)
        return found(i) if callable(found) else found

    items = tuple(
        Item(
            id=f"{name}-{i}",
            messages=(Message("user", f"{known.get('words', name)} {i}?"),),
            task=value("task", i),
            cluster=value("cluster", i),
        )
        for i in range(n)
    )
    return Suite(name, Path(f"/suites/{name}.jsonl"), "0" * 64, items)


def scored(item: Item, mark: Any, finish: Any = "eos") -> Scored:
    if not isinstance(mark, Score):
        mark = Score() if mark is None else Score(strict_task_valid=bool(mark), parse=True)
    return Scored(item, Generated(f"answer to {item.id}", 5, 7, finish, 0.1, 8), mark)


def evaluated(
    *suites: tuple[Suite, Marks],
    folders: Mapping[str, Path] | None = None,
    made: Mapping[str, Settings] | None = None,
) -> Evaluation:
    """Versions in the order of the first suite's marks."""
    results = []
    for name in suites[0][1]:
        sha = "base" if name == "base" else f"sha-{name}"
        version = Version(name, (folders or {}).get(name), sha)
        answers = {
            s.name: tuple(scored(i, m) for i, m in zip(s.items, marks[name], strict=True))
            for s, marks in suites
        }
        settings = (made or {}).get(name, MADE)
        results.append(VersionResult(version, replace(settings, model=sha), answers, 0))
    return Evaluation(BASE, tuple(s for s, _ in suites), tuple(results), {"extractor": "1"})


def judged(*suites: tuple[Suite, Marks], **options: Any) -> Comparison:
    how = {key: options.pop(key) for key in ("folders", "made") if key in options}
    return compare(evaluated(*suites, **how), created=NOW, **options)


def difference(found: Comparison, later: str, name: str, **which: Any) -> Difference:
    wanted = {"earlier": "base", "later": later, "suite": name, "task": None, **which}
    matching = [d for d in found.differences if wanted.items() <= vars(d).items()]
    headline = next(s.headline for s in found.suites if s.name == name)
    matching = [d for d in matching if d.metric == which.get("metric", headline)]
    assert len(matching) == 1
    return matching[0]


def pair(found: Comparison, earlier: str, later: str) -> Overall:
    return next(o for o in found.overall if (o.earlier, o.later) == (earlier, later))


def made_version(root: Path, name: str, parent: str | None = None, **changes: Any) -> Path:
    """A folder with a lineage and no weights: nothing here reads them."""
    folder = root / name
    folder.mkdir(parents=True)
    for file in (adapters.WEIGHTS, adapters.CONFIG):
        (folder / file).write_bytes(b"{}")
    data = lineage_data(folder, BASE) | changes
    data["files"] = {adapters.WEIGHTS: f"sha-{name}"}
    if parent is not None:
        recorded = {"name": parent, "path": f"../{parent}", "adapter_sha256": f"sha-{parent}"}
        data["parent"] = recorded
    lineage.write(folder, data)
    return folder


def test_each_verdict_is_reached() -> None:
    up, down, same, few = (suite(name, 60) for name in ("up", "down", "same", "few"))
    found = judged(
        (up, {"base": [0] * 60, "v1": [1] * 12 + [0] * 48}),
        (down, {"base": [1] * 60, "v1": [0] * 12 + [1] * 48}),
        (same, {"base": [1] * 60, "v1": [1] * 60}),
        (few, {"base": [1] * 58 + [0] * 2, "v1": [0] * 2 + [1] * 58}),
    )
    verdicts = {d.suite: d.verdict for d in found.differences if d.family == "suites, base to v1"}
    assert verdicts == {
        "up": "better",
        "down": "worse",
        "same": "equivalent",
        "few": "cannot tell",
    }
    up_difference = difference(found, "v1", "up")
    assert (up_difference.wins, up_difference.losses, up_difference.ties) == (12, 0, 48)
    assert up_difference.value == pytest.approx(0.2)
    assert up_difference.p == pytest.approx(2 / 2**12)
    assert up_difference.p_holm == pytest.approx(4 * 2 / 2**12), "Holm over four suites"
    assert up_difference.interval is not None and 0 < up_difference.interval.low < 0.2
    overall = pair(found, "base", "v1")
    assert overall.verdict == "cannot tell"
    assert (
        overall.reason
        == "mixed: better on up; worse on down; equivalent on same; cannot tell on few"
    )


def test_tasks_are_a_family_of_their_own() -> None:
    asked = suite("s", 40, task=lambda i: "even" if i % 2 == 0 else "odd")
    found = judged((asked, {"base": [0] * 40, "v1": [1 - i % 2 for i in range(40)]}))
    even, odd = (difference(found, "v1", "s", task=task) for task in ("even", "odd"))
    assert (even.n, even.wins, even.verdict) == (20, 20, "better")
    assert even.p_holm == pytest.approx(2 * (even.p or 0)) and even.family == "tasks, base to v1"
    assert (odd.wins, odd.verdict) == (0, "cannot tell")
    whole = difference(found, "v1", "s")
    assert whole.p_holm == whole.p, "looking at tasks costs the headline nothing"
    assert found.suites[0].tasks == ["even", "odd"]
    cell = found.cell("v1", "s", task="even")
    assert cell is not None and (cell.n, cell.scored, cell.value) == (20, 20, 1.0)


def test_cells_hold_rates_with_their_intervals_and_count_what_was_cut() -> None:
    asked = suite("s", 20)
    evaluation = evaluated((asked, {"base": [0] * 20, "v1": [1] * 15 + [None] * 5}))
    answers = evaluation.versions[0].answers["s"]
    cut = [replace(a, generated=replace(a.generated, finish="length")) for a in answers[:4]]
    result = replace(evaluation.versions[0], answers={"s": (*cut, *answers[4:])})
    found = compare(replace(evaluation, versions=(result, evaluation.versions[1])), created=NOW)
    base, v1 = found.cell("base", "s"), found.cell("v1", "s")
    assert base is not None and v1 is not None and base.interval is not None
    assert (base.value, base.cut, v1.cut) == (0.0, 4, 0)
    assert base.interval.high == pytest.approx(0.161, abs=1e-3)
    assert (v1.n, v1.scored, v1.value) == (20, 15, 1.0)
    assert difference(found, "v1", "s").n == 15, "a pair needs two scores"
    assert found.failures["base"]["s"] == {"low score": 16, "cut": 4}
    assert any("token limit (base on s: 4 of 20)" in note for note in found.notes)
    assert any("left out: 5 of 20 for v1" in note for note in found.notes)


def test_nothing_scored_is_not_zero() -> None:
    asked = suite("open", 10, task="chat")
    found = judged((asked, {"base": [None] * 10, "v1": [None] * 10}))
    cell = found.cell("v1", "open")
    assert cell is not None and (cell.scored, cell.value, cell.interval) == (0, None, None)
    one = difference(found, "v1", "open")
    assert (one.verdict, one.p, one.p_holm, one.n) == ("cannot tell", None, None, 0)
    assert found.failures["v1"]["open"] == {} and found.suites[0].metrics == []
    assert found.overall[0].verdict == "cannot tell"
    assert any("Nothing in open could be scored" in note for note in found.notes)


def test_a_suite_that_cannot_be_scored_costs_the_others_nothing() -> None:
    asked, other = suite("s", 20), suite("open", 10)
    found = judged(
        (asked, {"base": [0] * 20, "v1": [1] * 6 + [0] * 14}),
        (other, {"base": [None] * 10, "v1": [None] * 10}),
    )
    assert difference(found, "v1", "s").verdict == "better", "Holm over one test, not over two"


@pytest.mark.parametrize(
    ("known", "headline"),
    [
        ({"strict_task_valid": True, "schema_valid": True, "parse": True}, "strict_task_valid"),
        ({"schema_valid": True, "strict_valid": False, "exact_fields": True}, "strict_valid"),
        ({"strict": True, "fields": 0.5, "exact_fields": False}, "exact_fields"),
        ({"parse": True, "strict": True, "values": {"price": 1.0}}, "strict"),
        ({"values": {"price": 0.5, "tone": 1.0}}, "price"),
    ],
)
def test_the_headline_is_the_first_that_anything_can_be_scored_by(
    known: dict[str, Any], headline: str
) -> None:
    asked = suite("s", 2)
    found = judged((asked, {"base": [Score(), Score(**known)]}))
    assert found.suites[0].headline == headline
    assert set(found.suites[0].metrics) == {*known, *known.get("values", {})} - {"values"}


def test_a_named_headline_decides_and_a_scorers_values_are_graded() -> None:
    asked = suite("s", 40)
    low, high = (
        [Score(parse=True, values={"tone": v + i / 100}) for i in range(40)] for v in (0.1, 0.5)
    )
    found = judged((asked, {"base": low, "v1": high}), headlines={"s": "tone"})
    one = difference(found, "v1", "s")
    assert (one.metric, one.test, one.verdict) == ("tone", "permutation", "better")
    assert one.value == pytest.approx(0.4)
    with pytest.raises(
        UserError, match=r"s is to be judged by price, which gave no value .* parse, tone"
    ):
        judged((asked, {"base": low}), headlines={"s": "price"})


def test_a_loss_that_the_headline_does_not_show_is_said() -> None:
    asked = suite("s", 40)
    full, half = (
        [Score(strict_task_valid=True, fields=share - i / 200) for i in range(40)]
        for share in (1.0, 0.6)
    )
    found = judged((asked, {"base": full, "v1": half}))
    assert difference(found, "v1", "s").verdict == "cannot tell"
    other = difference(found, "v1", "s", metric="fields")
    assert (other.verdict, other.family) == ("worse", "other metrics, base to v1")
    assert found.overall[0].worse == []
    assert (
        "Worse by a metric that the verdict does not stand on: v1 against base on s by fields "
        "(-40 points)." in found.notes
    )


def test_clusters_are_flipped_whole() -> None:
    asked = suite("s", 24, cluster=lambda i: f"country {i // 4}")
    found = judged((asked, {"base": [0] * 24, "v1": [1] * 16 + [0] * 8}))
    one = difference(found, "v1", "s")
    assert (one.test, one.clusters) == ("mcnemar, clustered", 6)
    assert one.p == pytest.approx(2 / 2**4), "four countries won, which is no proof"
    assert one.verdict == "cannot tell" and "in 6 clusters" in one.reason
    assert found.suites[0].clusters == 6
    cell = found.cell("v1", "s")
    assert cell is not None and cell.interval is not None and cell.interval.low < 0.4, "worth 6"
    alone = judged((suite("s", 24), {"base": [0] * 24, "v1": [1] * 16 + [0] * 8}))
    assert difference(alone, "v1", "s").verdict == "better"


def test_items_without_a_score_take_their_clusters_with_them() -> None:
    asked = suite("s", 24, cluster=lambda i: f"country {i // 4}")
    whole = judged((suite("s", 12, cluster=asked.items[0].cluster), {"base": [0, 1] * 6}))
    found = judged((asked, {"base": [0, 1] * 6 + [None] * 12}))
    cell, other = found.cell("base", "s"), whole.cell("base", "s")
    assert cell is not None and other is not None
    assert (cell.scored, cell.value, cell.interval) == (12, 0.5, other.interval)


def test_versions_are_held_against_parent_and_base(tmp_path: Path) -> None:
    folders = {
        "v1": made_version(tmp_path, "v1"),
        "v2": made_version(tmp_path, "v2", "v1"),
        "other": made_version(tmp_path, "other", "v1"),
    }
    marks = {name: [1] * 4 for name in ("v2", "other", "v1", "base")}
    found = judged((suite("s", 4), marks), folders=folders)
    assert [v.name for v in found.versions] == ["base", "v1", "v2", "other"], "parents come first"
    assert [v.parent for v in found.versions] == [None, "base", "v1", "v1"]
    assert [(o.earlier, o.later) for o in found.overall] == [
        *[("base", "v1"), ("v1", "v2"), ("base", "v2")],
        *[("v1", "other"), ("base", "other"), ("v2", "other")],
    ]


def test_a_version_that_was_left_out_still_counts_in_the_line(tmp_path: Path) -> None:
    for name, parent in (("v1", None), ("v2", "v1"), ("v3", "v2")):
        made_version(tmp_path, name, parent)
    folders = {name: tmp_path / name for name in ("v1", "v3")}
    third = suite("generation3_v1", 4)
    found = judged((third, {"v1": [1] * 4, "v3": [1] * 4}), folders=folders)
    assert [(o.earlier, o.later) for o in found.overall] == [("v1", "v3")]
    assert found.versions[1].parent == "v2", "as its lineage has it"
    assert [v.own_suite for v in found.versions] == [None, "generation3_v1"]


def test_without_folders_the_order_given_is_the_chain() -> None:
    found = judged((suite("s", 4), {"base": [1] * 4, "v1": [1] * 4, "v2": [0] * 4}))
    assert [(o.earlier, o.later) for o in found.overall] == [
        *[("base", "v1"), ("v1", "v2"), ("base", "v2")],
    ]
    assert [v.parent for v in found.versions] == [None] * 3 and not found.versions[1].facts
    assert any("How these versions were made is not known" in note for note in found.notes)
    assert [b.by for b in found.broken] == ["v2"] * 4


def test_pairs_can_be_chosen() -> None:
    marks = {name: [1] * 4 for name in ("base", "v1", "v2")}
    found = judged((suite("s", 4), marks), pairs=[("v2", "v1"), ("v2", "v1")])
    assert [(o.earlier, o.later) for o in found.overall] == [("v2", "v1")]
    with pytest.raises(UserError, match="v9 cannot be compared: the versions are base, v1, v2"):
        judged((suite("s", 4), marks), pairs=[("base", "v9")])
    with pytest.raises(UserError, match="with itself"):
        judged((suite("s", 4), marks), pairs=[("v1", "v1")])


def test_what_broke_it_and_what_mended_it() -> None:
    marks = {
        "base": [0, 1, None, 1, 0],
        "v1": [1, 1, 1, 0, 0],
        "v2": [0, 1, None, 0, 0],
        "v3": [0, 0, 0, 1, 0],
    }
    found = judged((suite("s", 5, task="t"), marks))
    broken = {(b.item, b.passed, b.by, b.until) for b in found.broken}
    assert broken == {
        ("s-0", "v1", "v2", None),
        ("s-1", "v2", "v3", None),
        ("s-2", "v1", "v3", None),  # v2 has no score on it
        ("s-3", "base", "v1", "v3"),
    }
    assert {b.task for b in found.broken} == {"t"}


def test_a_sibling_breaks_nothing_of_its_siblings(tmp_path: Path) -> None:
    folders = {
        "v1": made_version(tmp_path, "v1"),
        "v2": made_version(tmp_path, "v2", "v1"),
        "other": made_version(tmp_path, "other", "v1"),
    }
    marks = {"v1": [0, 1], "v2": [1, 0], "other": [0, 1]}
    found = judged((suite("s", 2), marks), folders=folders)
    assert [(b.item, b.passed, b.by, b.until) for b in found.broken] == [("s-1", "v1", "v2", None)]


def test_backward_transfer_is_the_change_since_the_version_whose_suite_it_is() -> None:
    first, second = suite("generation1_v1", 4), suite("generation2_v1", 4)
    found = judged(
        (first, {"base": [0] * 4, "v1": [1, 1, 1, None], "v2": [1, 0, 0, 1], "v3": [1] * 4}),
        (second, {"base": [0] * 4, "v1": [0] * 4, "v2": [1] * 4, "v3": [1, 1, 1, 0]}),
    )
    assert {v.name: v.own_suite for v in found.versions} == {
        "base": None,
        "v1": "generation1_v1",
        "v2": "generation2_v1",
        "v3": None,
    }
    transfer = found.backward_transfer
    assert transfer["v2"] == {"generation1_v1": pytest.approx(-2 / 3), "generation2_v1": None}
    assert transfer["v3"] == {"generation1_v1": 0.0, "generation2_v1": -0.25}
    assert set(transfer["base"].values()) == set(transfer["v1"].values()) == {None}


def test_the_own_suite_is_the_one_with_the_tasks_of_the_validation_rows(tmp_path: Path) -> None:
    from lorachain.files import sha256_file

    rows = tmp_path / "val.jsonl"
    row = {"prompt": "?", "completion": "!", "task": "sums"}
    write_text(rows, json.dumps(row) + "\n")
    entry = {"role": "validation", "path": str(rows), "sha256": sha256_file(rows), "rows": 1}
    folders = {"v1": made_version(tmp_path, "v1", data=[entry])}
    suites = [
        (suite(name, 2, task=task), {"base": [1, 1], "v1": [1, 1]})
        for name, task in (("generation1_v1", "words"), ("mine", "sums"))
    ]
    assert judged(*suites, folders=folders).versions[1].own_suite == "mine"
    write_text(rows, json.dumps(row | {"task": "words"}) + "\n")
    changed = judged(*suites, folders=folders)
    assert changed.versions[1].own_suite == "generation1_v1", "changed rows say nothing; the name"


def test_other_settings_are_named_with_the_versions() -> None:
    marks = {name: [1] * 4 for name in ("base", "v1", "v2")}
    made = {"v2": replace(MADE, batch_size=1, packages={"torch": "2.10"})}
    found = judged((suite("s", 4), marks), made=made)
    notes = "\n".join(found.notes)
    assert "batch_size is not the same for all (base, v1: 8; v2: 1)" in notes
    assert "packages.torch is not the same for all (base, v1: 2.13; v2: 2.10)" in notes
    assert notes.count("is not the same for all") == 2, "the adapter's own hash is no difference"
    assert found.versions[0].fingerprint != found.versions[2].fingerprint
    assert found.versions[2].settings["batch_size"] == 1


def test_what_a_reader_must_bear_in_mind() -> None:
    asked = suite("s", 60)
    marks = {"base": [1] * 60, "v1": [0] * 60}
    assert [n for n in judged((asked, marks)).notes if "not known" not in n] == []
    drawn = replace(MADE, decoding={"temperature": 0.7})
    found = judged(
        *[(asked, marks), (suite("t", 20, words="s"), {k: v[:20] for k, v in marks.items()})],
        made={"base": drawn, "v1": drawn},
    )
    notes = "\n".join(found.notes)
    assert "drawn at a temperature over 0 (base, v1)" in notes
    assert "t (20 items: 37 points or more)" in notes
    assert "20 of the 60 prompts of s stand in t too" in notes


def test_a_new_suite_does_not_outweigh_what_was_lost_on_earlier_ones() -> None:
    lost = {"v2": [1] * 20, "v3": [0] * 6 + [1] * 14}
    new = (suite("generation3_v1", 60), {"v2": [0] * 60, "v3": [1] * 30 + [0] * 30})
    one = judged(*[(suite("generation1_v1", 20), lost), new]).overall[0]
    both = judged(
        *[(suite("generation1_v1", 20), lost), (suite("generation2_v1", 20), lost), new]
    ).overall[0]
    assert one.worse == ["generation1_v1"], "p = .031 is enough for Holm's last of two"
    assert (both.verdict, both.worse, both.better) == ("cannot tell", [], ["generation3_v1"])
    assert both.reason == (
        "mixed: better on generation3_v1; together worse on generation1_v1, generation2_v1 "
        "(-30 points, 0 won, 12 lost of 40 items, p = .0005)"
    )


def test_the_same_losses_in_two_suites_are_pooled_once() -> None:
    lost = {"v2": [1] * 20, "v3": [0] * 5 + [1] * 15}
    new = (suite("new", 60), {"v2": [0] * 60, "v3": [1] * 30 + [0] * 30})
    apart = judged((suite("a", 20), lost), (suite("b", 20), lost), new).overall[0]
    same = judged((suite("a", 20, words="w"), lost), (suite("b", 20, words="w"), lost), new)
    assert apart.together_worse == ["a", "b"]
    assert same.overall[0].together_worse == [], "five questions, p = .0625, asked in both"
    assert same.overall[0].reason == (
        "better on new, but losses cannot be ruled out: a (-25 points, 0 won, 5 lost of 20), "
        "b (-25 points, 0 won, 5 lost of 20)"
    )


def with_cut(evaluation: Evaluation, cut: Mapping[str, int]) -> Evaluation:
    """So many of a version's first answers ended at the token limit, in every suite."""

    def result(r: VersionResult) -> VersionResult:
        n = cut.get(r.version.name, 0)
        answers = {
            name: tuple(
                replace(a, generated=replace(a.generated, finish="length" if i < n else "eos"))
                for i, a in enumerate(found)
            )
            for name, found in r.answers.items()
        }
        return replace(r, answers=answers)

    return replace(evaluation, versions=tuple(map(result, evaluation.versions)))


def test_two_that_were_always_cut_are_not_equivalent() -> None:
    asked = suite("s", 60)
    evaluation = evaluated((asked, {"base": [0] * 60, "v1": [0] * 60}))
    assert compare(evaluation, created=NOW).overall[0].verdict == "equivalent"
    found = compare(with_cut(evaluation, {"base": 60, "v1": 60}), created=NOW)
    assert found.overall[0].verdict == "cannot tell"
    assert difference(found, "v1", "s").reason == (
        "cannot tell from 60 items: both fail all of them; 120 of 120 answers were cut by the "
        "token limit: ask again with --max-new-tokens"
    )


def test_a_gain_that_stands_on_cut_answers_is_said_to() -> None:
    marks = {"base": [0] * 12 + [1] * 48, "v1": [1] * 60}
    evaluation = evaluated((suite("s", 60), marks))
    found = difference(compare(with_cut(evaluation, {"base": 10}), created=NOW), "v1", "s")
    assert found.verdict == "better"
    assert found.reason.endswith("; without the cut answers: cannot tell")
    few = difference(compare(with_cut(evaluation, {"base": 5}), created=NOW), "v1", "s")
    assert (few.verdict, "without" in few.reason) == ("better", False), "7 to 0 still holds"


def test_one_prompt_under_several_ids_is_one_piece_of_evidence() -> None:
    apart = suite("s", 30)
    same = apart.items[0].messages
    items = [replace(item, messages=same) for item in apart.items[:12]]
    asked = replace(apart, items=(*items, *apart.items[12:]))
    marks = {"base": [0] * 12 + [1] * 18, "v1": [1] * 30}
    assert difference(judged((apart, marks)), "v1", "s").verdict == "better"
    found = judged((asked, marks))
    one = difference(found, "v1", "s")
    assert (one.verdict, one.p, one.clusters) == ("cannot tell", 1.0, 19)
    assert "s: 12 items are 1 prompt, and count as no more than that." in found.notes


def test_prompts_join_the_clusters_that_they_stand_in() -> None:
    asked = suite("s", 8, cluster=lambda i: f"c{i // 2}" if i < 6 else None)
    items = list(asked.items)
    items[2] = replace(items[2], messages=items[1].messages)  # c1 with c0
    items[7] = replace(items[7], messages=items[4].messages)  # the last with c2
    labels = cluster_labels(items)
    assert labels is not None
    groups = [{i for i, label in enumerate(labels) if label == one} for one in set(labels)]
    assert sorted(map(sorted, groups)) == [[0, 1, 2, 3], [4, 5, 7], [6]]
    two = cluster_labels(asked.items, suite("t", 2, cluster="c0").items)
    assert two is not None and len(set(two)) == 6, "a suite's labels are its own"


def test_suites_too_small_for_any_difference_say_so() -> None:
    marks = {"base": [1] * 20, "v1": [0] * 20}
    clustered = suite("c", 20, cluster=lambda i: str(i // 5))
    found = judged(
        (suite("s", 20), marks),
        (suite("two", 2), {k: v[:2] for k, v in marks.items()}),
        (clustered, marks),
    )
    notes = "\n".join(found.notes)
    assert "differences only: s (20 items: 37 points or more), where three" in notes
    assert (
        "So few items cannot show any difference: two (2 items), c (20 items in 4 clusters)."
        in found.notes
    )
    assert "so few clusters cannot show any" in difference(found, "v1", "c").reason


def test_two_suites_with_the_same_items_are_judged_alike() -> None:
    marks = {"base": [0] * 20, "v1": [1] * 8 + [0] * 12}
    found = judged((suite("a", 20, words="w"), marks), (suite("b", 20, words="w"), marks))
    first, second = difference(found, "v1", "a"), difference(found, "v1", "b")
    assert (first.p, first.p_holm, first.verdict) == (second.p, second.p_holm, second.verdict)
    assert any("one piece of evidence, not two" in note for note in found.notes)


def test_failures_are_counted_by_kind() -> None:
    missing = {"path": "a", "kind": "required"}
    bad = [
        Score(strict_task_valid=False, root_type="array"),
        Score(strict_task_valid=False, root_type="none"),
        Score(strict_task_valid=False, root_type="object", truncated=True),
        Score(strict_task_valid=False, root_type="object", problems=(missing,)),
        Score(strict_task_valid=False, task_valid=True, root_type="object"),
        Score(
            strict_task_valid=True, root_type="object", problems=({"path": "a", "kind": "check"},)
        ),
    ]
    found = judged((suite("s", 6), {"base": bad}))
    assert found.failures["base"]["s"] == {
        "root array": 1,
        "no JSON": 1,
        "unclosed": 1,
        "required": 1,
        "not plain JSON": 1,
    }


def test_a_comparison_is_plain_json_and_the_same_each_time() -> None:
    asked = suite("s", 30, task=lambda i: str(i % 2), cluster=lambda i: str(i // 2))
    graded = {
        "base": [Score(parse=True, values={"tone": i / 30}) for i in range(30)],
        "v1": [Score(parse=True, values={"tone": i / 40}) for i in range(30)],
    }
    first, second = (judged((asked, graded), headlines={"s": "tone"}) for _ in range(2))
    assert json.dumps(first.as_dict(), allow_nan=False) == json.dumps(second.as_dict())
    assert first.created == "2026-01-02T00:00:00+00:00"
    assert (first.base, first.scoring, first.margin) == ("tiny", {"extractor": "1"}, 0.05)


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, 5.0])
def test_a_margin_is_a_share(margin: float) -> None:
    with pytest.raises(UserError, match="margin of equivalence"):
        judged((suite("s", 2), {"base": [1, 1]}), margin=margin)


def test_a_wider_margin_makes_more_equivalent() -> None:
    marks = {"base": [1] * 100, "v1": [1] * 96 + [0] * 4}
    narrow, wide = (judged((suite("s", 100), marks), margin=m).overall[0] for m in (0.05, 0.15))
    assert (narrow.verdict, wide.verdict) == ("cannot tell", "equivalent")


def test_two_of_one_name_cannot_be_told_apart() -> None:
    asked = suite("s", 2)
    evaluation = evaluated((asked, {"base": [1, 1]}))
    with pytest.raises(UserError, match="Several suites are called s"):
        compare(replace(evaluation, suites=(asked, asked)), created=NOW)
    twice = replace(evaluation, versions=evaluation.versions * 2)
    with pytest.raises(UserError, match="Several versions are called base"):
        compare(twice, created=NOW)
