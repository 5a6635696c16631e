"""compare_versions.py: a chain on its suites, from answers to a verdict, as a process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from comparison_support import (
    ENVIRONMENT,
    ITEMS,
    command,
    fill_store,
    good_at,
    load,
    script,
    stored,
    write_suite,
)

from lorachain.files import folder_lock
from lorachain.paths import PROJECT_ROOT

COMPARE = "src/evaluation/compare_versions.py"
FORGETS = {
    "base": good_at(),
    "v1": good_at("alpha"),
    "v2": good_at("alpha", "beta"),
    "v3": good_at("beta", "gamma", but=(11,)),
}


@pytest.fixture
def suites(tmp_path: Path) -> list[Path]:
    """A suite of each generation's task."""
    return [write_suite(tmp_path / "suites", task) for task in ("alpha", "beta", "gamma")]


@pytest.fixture
def filled(chain: Path, suites: list[Path], tmp_path: Path) -> Path:
    """The chain with answers in the store, in which v3 learned gamma and forgot alpha."""
    fill_store(tmp_path / "answers", chain / "v3", suites, FORGETS)
    return chain


def flags(filled: Path, suites: list[Path], *more: object) -> tuple[object, ...]:
    return (
        *("--chain", filled / "v3", "--suites", *suites),
        *("--answers", "answers", "--output", "out", *more),
    )


def test_a_chain_is_judged_and_the_verdict_stands_first(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    done = script(COMPARE, tmp_path, *flags(filled, suites))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("v3 is better than v2 on some suites and worse on others.")
    found = load(tmp_path / "out" / "comparison.json")
    assert [v["name"] for v in found["versions"]] == ["base", "v1", "v2", "v3"]
    assert [v["parent"] for v in found["versions"]] == [None, "base", "v1", "v2"]
    cells = {
        (c["version"], c["suite"]): c["value"]
        for c in found["cells"]
        if c["task"] is None and c["metric"] == "schema_valid"
    }
    assert cells["v2", "alpha_v1"] == 1.0 and cells["v3", "alpha_v1"] == 0.0
    assert cells["v3", "gamma_v1"] == round(11 / 12, 12)
    verdicts = {
        d["suite"]: d["verdict"]
        for d in found["differences"]
        if (d["earlier"], d["later"], d["metric"]) == ("v2", "v3", "strict_task_valid")
        and d["task"] is None
    }
    assert verdicts == {"alpha_v1": "worse", "beta_v1": "cannot tell", "gamma_v1": "better"}
    own = {v["name"]: v["own_suite"] for v in found["versions"]}
    assert own == {"base": None, "v1": "alpha_v1", "v2": "beta_v1", "v3": "gamma_v1"}
    assert found["backward_transfer"]["v3"]["alpha_v1"] == -1.0
    # In the terminal: the matrix with own suites, intervals and losses, and what broke.
    row = next(line for line in lines if line.startswith("alpha_v1"))
    assert row.split() == [
        *("alpha_v1", "strict_task_valid", "12", "0%", "(0–24)", "100%*", "(76–100)"),
        *("100%", "(76–100)", "0%", "(0–24)", "−100"),
    ]
    loss = next(line for line in lines if line.startswith("rows of v1"))
    measured = found["versions"][1]["validation_loss"]["v1"]
    assert f"{measured:.4f}" in loss
    lost = "v3 lost 100 points of alpha_v1 since v1: worse (0 won, 12 lost of 12 items, p = .0005)"
    assert f"  {lost}" in lines
    assert "v3 broke 13 items:" in done.stdout and "8 more, in the report" in done.stdout
    assert "alpha_v1: alpha-0 (v2 passed it)" in done.stdout
    assert "cannot be judged" in done.stdout and "Report: out/report.html" in done.stdout


def test_report_vote_and_record_are_written_and_nothing_is_asked(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    before = (tmp_path / "answers" / "answers.jsonl").read_bytes()
    for _ in range(2):
        done = script(COMPARE, tmp_path, *flags(filled, suites))
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("36 answers were there already") == 4
    assert (tmp_path / "answers" / "answers.jsonl").read_bytes() == before
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("v1", "v2", "v3", "alpha_v1", "gamma_v1"))
    assert "v3 is better than v2 on some suites and worse on others" in page
    assert "alpha-0" in (tmp_path / "out" / "vote.html").read_text(encoding="utf-8")
    assert 'href="vote.html"' in page
    again = script("src/evaluation/rescore.py", tmp_path, "--comparison", "out")
    assert again.returncode == 0, again.stderr
    assert "Nothing moved." in again.stdout and "144 answers of 4 versions" in again.stdout


def test_without_names_the_suites_that_fit_the_training_data_are_asked(
    chain: Path, tmp_path: Path
) -> None:
    """The project's suites ask none of the tasks of this chain."""
    done = script(COMPARE, tmp_path, "--chain", chain / "v3", "--answers", "answers")
    assert done.returncode == 2
    assert "No suite in" in done.stderr and "(alpha, beta, gamma)" in done.stderr
    assert "--suites FILE" in done.stderr and not (tmp_path / "answers").exists()


def test_branches_are_compared_side_by_side(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    models = ("--model", filled / "v2", "--model", filled / "v1")
    where = ("--suites", *suites[:2], "--suites", suites[2], "--answers", "answers")
    done = script(COMPARE, tmp_path, *models, *where, "--output", "out")
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "out" / "comparison.json")
    assert [v["name"] for v in found["versions"]] == ["base", "v1", "v2"]
    assert [(o["earlier"], o["later"], o["verdict"]) for o in found["overall"]] == [
        ("base", "v1", "better"),
        ("v1", "v2", "better"),
        ("base", "v2", "better"),
    ]


def test_a_killed_comparison_makes_only_the_rest(
    chain: Path, suites: list[Path], tmp_path: Path
) -> None:
    """Real answers, `kill -9` after some of them: none of those is made again."""
    flags = ("--chain", chain / "v2", "--suites", *suites[:2], "--answers", "answers")
    flags += ("--output", "out", "--batch-size", 2, "--max-new-tokens", 60, "--cpu")
    process = subprocess.Popen(
        command(COMPARE, *flags), cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while len(stored(tmp_path / "answers")) < 5 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = stored(tmp_path / "answers")
    wanted = 3 * 2 * ITEMS
    assert 5 <= len(before) < wanted and not (tmp_path / "out" / "run.json").exists()
    done = script(COMPARE, tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    after = stored(tmp_path / "answers")
    assert after[: len(before)] == before
    assert len({(row["fingerprint"], row["prompt_sha256"]) for row in after}) == len(after)
    assert len(after) == wanted
    assert f"base: {len(before)} answers were there already" in done.stderr
    assert (tmp_path / "out" / "report.html").is_file()


def test_exact_says_which_answers_and_verdicts_hang_on_batches(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    """One by one, v3 forgets nothing of alpha, and one answer of v1 is another one."""
    exactly = FORGETS | {
        "v1": lambda item, i: "{}" if item.id == "beta-3" else FORGETS["v1"](item, i),
        "v3": good_at("alpha", "beta", "gamma", but=(11,)),
    }
    fill_store(*(tmp_path / "answers", filled / "v3", suites, exactly), batch_size=1, dtype="fp32")
    done = script(COMPARE, tmp_path, *flags(filled, suites, "--exact"))
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "these answers came out differently: base 0 of 36, v1 1 of 36, v2 0 of 36, v3 11" in said
    assert "v3 against v2 on alpha_v1: worse -> cannot tell" in said
    found = load(tmp_path / "out" / "exact.json")
    changed = {c["version"]: (c["changed"], c["items"]) for c in found["changed"]}
    assert changed["v1"] == (1, ["beta_v1 beta-3"]) and changed["v2"] == (0, [])
    assert changed["v3"][0] == 11 and changed["v3"][1][0] == "alpha_v1 alpha-0"
    notes = load(tmp_path / "out" / "comparison.json")["notes"]
    assert notes[0].startswith("Asked again one by one in fp32 (instead of batches of 8 in fp32)")
    assert "alpha_v1: worse -&gt; cannot tell" in (tmp_path / "out/report.html").read_text("utf-8")
    # Not asked for again, what it found is of another comparison.
    done = script(COMPARE, tmp_path, *flags(filled, suites, "--limit", 4))
    assert done.returncode == 0, done.stderr
    assert "Note: Asked of each suite: the first 4 items only (--limit 4)." in done.stdout
    assert not (tmp_path / "out" / "exact.json").exists()


def test_exact_says_when_there_is_nothing_more_exact(
    chain: Path, suites: list[Path], tmp_path: Path
) -> None:
    fill_store(tmp_path / "answers", chain / "v3", suites, FORGETS, batch_size=1, dtype="fp32")
    more = ("--exact", "--batch-size", 1, "--dtype", "fp32")
    done = script(COMPARE, tmp_path, *flags(chain, suites, *more))
    assert done.returncode == 0, done.stderr
    assert "there is nothing more exact" in done.stdout
    assert load(tmp_path / "out" / "exact.json")["changed"] == []


def test_a_changed_schema_is_said_when_a_comparison_is_made_again(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    assert script(COMPARE, tmp_path, *flags(filled, suites)).returncode == 0
    schema = tmp_path / "suites" / "card.schema.json"
    schema.write_text(json.dumps(load(schema) | {"required": ["name"]}), encoding="utf-8")
    done = script(COMPARE, tmp_path, *flags(filled, suites))
    assert done.returncode == 0, done.stderr
    assert "The scoring changed since these answers were last scored" in done.stdout


def test_scorers_decide_where_they_are_marked(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def polite(answer, item): return 'not' in answer\n")
    (tmp_path / "s.yaml").write_text(
        "default: [{kind: function, function: 'mine.py:polite', headline: true}]"
    )
    done = script(COMPARE, tmp_path, *flags(filled, suites, "--scorers", "s.yaml"))
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "out" / "comparison.json")
    assert {s["headline"] for s in found["suites"]} == {"polite"}
    value = {c["version"]: c["value"] for c in found["cells"] if c["suite"] == "alpha_v1"}
    assert value == {"base": 1.0, "v1": 0.0, "v2": 0.0, "v3": 1.0}


def write_polite(folder: Path, body: str, *more: str) -> tuple[str, str]:
    """A scorer of the user's own beside kind schema; the flags that choose it."""
    (folder / "mine.py").write_text(f"def polite(answer, item): {body}\n")
    entry = ", ".join(["kind: function", "function: 'mine.py:polite'", *more])
    (folder / "s.yaml").write_text(f"default: [schema, {{{entry}}}]")
    return "--scorers", "s.yaml"


def test_a_scorer_that_fails_on_every_answer_is_said(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    chosen = write_polite(tmp_path, "return item['x']")
    done = script(COMPARE, tmp_path, *flags(filled, suites, *chosen))
    assert done.returncode == 0, done.stderr
    said = "polite could not score 12 of 12 items of beta_v1 (KeyError: 'x')."
    assert said in " ".join(done.stdout.split()) and said in " ".join(done.stderr.split())
    assert load(tmp_path / "out" / "comparison.json")["notes"].count(said) == 1


def test_another_ruler_in_the_same_folder_is_said(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    """What scores, what no longer does, and what decides, for the suites of both."""

    def note(asked: list[Path], *more: str) -> str:
        done = script(COMPARE, tmp_path, *flags(filled, asked, *more))
        assert done.returncode == 0, done.stderr
        notes = load(tmp_path / "out" / "comparison.json")["notes"]
        return "".join(n for n in notes if n.startswith("The scoring changed"))

    polite = "return 'not' in answer"
    assert note(suites[:2]) == ""
    new = note(suites, *write_polite(tmp_path, polite))  # gamma is new: no change of the ruler
    assert "scored then by nothing in its place, now by default: polite. Compare" in new
    headline = note(suites, *write_polite(tmp_path, polite, "headline: true"))
    changed = "alpha_v1 was judged by strict_task_valid, now by polite; beta_v1 was"
    assert f"last scored: {changed}" in headline
    assert note(suites[1:], "--scorers", "s.yaml") == ""
    gone = note(suites[:2])
    assert "scored then by default: polite, now by nothing in its place; beta_v1 was" in gone
    assert "alpha_v1" not in gone


def test_suites_of_checks_alone_are_judged_by_them_where_schema_decides(
    chain: Path, tmp_path: Path
) -> None:
    asked = {"schema": None, "checks": [{"path": "name", "value": "Ana"}]}
    checks = write_suite(tmp_path / "suites", "alpha", **asked)
    fill_store(tmp_path / "answers", chain / "v1", [checks], FORGETS)
    (tmp_path / "s.yaml").write_text("default: [{kind: schema, headline: true}]")
    where = ("--chain", chain / "v1", "--suites", checks, "--answers", "answers")
    done = script(COMPARE, tmp_path, *where, "--output", "out", "--scorers", "s.yaml")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "out" / "comparison.json")["suites"][0]["headline"] == "exact_fields"


def test_a_parent_that_was_trained_again_is_said(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    """v2's folder holds v1's adapter now: v3 does not stand on what is there."""
    shutil.rmtree(filled / "v2")
    shutil.copytree(filled / "v1", filled / "v2")
    done = script(COMPARE, tmp_path, *flags(filled, suites))
    assert done.returncode == 0, done.stderr
    assert "v2 was trained again since v3 was made from it" in " ".join(done.stdout.split())


def test_a_store_that_another_run_holds_is_named_with_its_flag(
    filled: Path, suites: list[Path], tmp_path: Path
) -> None:
    with folder_lock(tmp_path / "answers", "The store"):
        done = script(COMPARE, tmp_path, *flags(filled, suites))
    assert done.returncode == 2
    assert "Another run is adding to the answers in answers." in done.stderr
    assert "--answers" in done.stderr and "Traceback" not in done.stderr


def test_help_and_mistakes_do_not_import_torch(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--chain", "none"]):
        code = (
            "import runpy, sys\n"
            f"sys.argv = [{str(PROJECT_ROOT / COMPARE)!r}, *{arguments!r}]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit: pass\n"
            "sys.exit(bool({'torch', 'transformers', 'scipy'} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to compare"),
        (("--chain", "none"), "Adapter folder not found: none"),
        (("--chain", "unfinished"), "is not finished"),
        (("--chain", "v3", "--suites", "none.jsonl"), "File not found: none.jsonl"),
        (("--chain", "v3", "--suites", "empty.jsonl"), "empty.jsonl is empty"),
        (("--chain", "v3", "--suites", "plain.jsonl"), "says what a right answer is"),
        (("--chain", "v3", "--suites", "a_v1.jsonl", "s/a_v1.jsonl"), "have the same name"),
        (("--chain", "v3", "--margin", "2"), "such as 0.05 for 5 points"),
        (("--chain", "v3", "--margin", "0"), "'0' is no share"),
        (("--chain", "lost/v3", "--suites", "a_v1.jsonl"), "v3's parent is not at"),
        (("--chain", "v1", "--model", "other", "--suites", "a_v1.jsonl"), "different bases"),
        (("--chain", "v1", "--suites", "a_v1.jsonl", "--output", "a_v1.jsonl"), "a file stands"),
        (("--chain", "v1", "--suites", "a_v1.jsonl", "--scorers", "none.yaml"), "not found"),
        (("--chain", "v1", "--suites", "a_v1.jsonl", "--answers", "a_v1.jsonl"), "a file stands"),
        (("--chain", "damaged", "--suites", "a_v1.jsonl"), "is damaged"),
    ],
    ids=str,
)
def test_a_mistake_is_a_sentence_before_anything_is_asked(
    arguments: tuple[str, ...], words: str, chain: Path
) -> None:
    write_suite(chain, "a", 2)
    write_suite(chain / "s", "a", 2)
    (chain / "empty.jsonl").write_text("", encoding="utf-8")
    (chain / "plain.jsonl").write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    (chain / "unfinished" / "checkpoint-2").mkdir(parents=True)
    shutil.copytree(chain / "v3", chain / "lost" / "v3")
    other = shutil.copytree(chain / "v1", chain / "other")
    data = load(other / "lineage.json")
    data["base"]["fingerprint"] = dict.fromkeys(data["base"]["fingerprint"], "0" * 16)
    (other / "lineage.json").write_text(json.dumps(data), encoding="utf-8")
    damaged = shutil.copytree(chain / "v1", chain / "damaged")
    with (damaged / "adapter_model.safetensors").open("ab") as file:
        file.write(b"\0")
    suite = (chain / "a_v1.jsonl").read_bytes()
    # Never into the checkout, whatever goes wrong; a flag that is given later counts.
    done = script(COMPARE, chain, "--answers", "answers", "--output", "out", *arguments)
    assert done.returncode == 2, done.stdout
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not (chain / "answers" / "answers.jsonl").exists()
    assert (chain / "a_v1.jsonl").read_bytes() == suite
