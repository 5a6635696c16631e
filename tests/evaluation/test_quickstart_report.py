"""The quickstart's end: the tables, the verdicts of a comparison, and its report."""

from __future__ import annotations

from pathlib import Path

from chain_support import Place
from comparison_support import fill_store, good_at, load, script, write_suite

from lorachain.evaluation.asking import ask, find_base_of
from lorachain.evaluation.chosen import find_versions
from lorachain.evaluation.flags import How
from lorachain.quickstart.measure import Steps
from lorachain.quickstart.plan import NO_REPLAY, STAGES, Plan
from lorachain.quickstart.run import conclude
from lorachain.suites import read_suite

TASKS = ("generation1", "generation2", "generation3")


def test_version_3_is_held_against_the_one_without_replay(
    chain: Path, tiny_base: Path, tmp_path: Path
) -> None:
    Place(chain, tiny_base).v2(chain / "v2", NO_REPLAY.name, generation=3)
    suites = [write_suite(tmp_path / "suites", task) for task in TASKS]
    answers = {
        "base": good_at(),
        "v1": good_at(*TASKS[:1]),
        "v2": good_at(*TASKS[:2]),
        "v3": good_at(*TASKS),
        NO_REPLAY.name: good_at(*TASKS[2:]),
    }
    plan = Plan(chain, str(tiny_base), (*STAGES, NO_REPLAY))
    for newest in ("v3", NO_REPLAY.name):
        fill_store(chain / "answers", chain / newest, suites, answers)
    versions = find_versions([plan.version(s.name) for s in plan.stages], with_base=True)
    base = find_base_of(versions)
    read = [read_suite(path) for path in suites]
    evaluation = ask(base, versions, read, store=chain / "answers", how=How())

    text = conclude(plan, Steps(chain), evaluation)
    assert "v3: 1.0 on its own suite (0 before); forgot nothing." in text
    assert "v3 is better than v3_no_replay." in text and "v3 is better than v2." in text
    assert list(load(chain / "summary.json")["versions"]) == [
        "base",
        "v1",
        "v2",
        "v3",
        NO_REPLAY.name,
    ]
    compared = load(chain / "comparison.json")
    assert [v["name"] for v in compared["versions"]] == ["base", "v1", "v2", NO_REPLAY.name, "v3"]
    assert [v["own_suite"] for v in compared["versions"]][1:] == [
        *("generation1_v1", "generation2_v1", "generation3_v1", "generation3_v1")
    ]
    page = (chain / "report.html").read_text(encoding="utf-8")
    assert "v3 is better than v3_no_replay." in page and "The quickstart" in page
    again = script("src/evaluation/rescore.py", tmp_path, "--comparison", chain)
    assert again.returncode == 0 and "Nothing moved." in again.stdout, again.stderr
