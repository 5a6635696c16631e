"""batch_test_model.py with several versions: the same verdicts as a comparison's."""

from __future__ import annotations

from pathlib import Path

from comparison_support import fill_store, good_at, load, script, write_suite

TEST = "batch_test_model.py"
ANSWERS = {
    "base": good_at(),
    "v1": good_at("alpha"),
    "v2": good_at("alpha", but=(0, 1)),
    "v3": good_at(),
}


def test_several_versions_are_judged_in_the_file_and_the_terminal(
    chain: Path, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "s", "alpha")
    fill_store(tmp_path / "r.answers", chain / "v3", [suite], ANSWERS)
    models = [word for name in ("v1", "v2", "v3") for word in ("--model", chain / name)]
    done = script(TEST, tmp_path, *models, "--base", "--questions", suite, "--output", "r.json")
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "r.json")["comparison"]
    assert found.keys() == {"overall", "differences", "broken", "margin", "notes"}
    assert {(o["earlier"], o["later"]): o["verdict"] for o in found["overall"]} == {
        ("base", "v1"): "better",
        ("v1", "v2"): "cannot tell",
        ("base", "v2"): "better",
        ("v2", "v3"): "worse",
        ("base", "v3"): "cannot tell",
    }
    assert [b["item"] for b in found["broken"] if b["by"] == "v2"] == ["alpha-0", "alpha-1"]
    assert "v3 is worse than v2." in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 96
    assert load(tmp_path / "r.answers" / "comparison.json")["base"] == found_base(chain)


def found_base(chain: Path) -> str:
    return str(load(chain / "v1" / "lineage.json")["base"]["name"])


def test_one_version_and_plain_questions_have_no_verdict(chain: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "alpha")
    fill_store(tmp_path / "r.answers", chain / "v3", [suite], ANSWERS)
    done = script(
        TEST, tmp_path, "--model", chain / "v1", "--questions", suite, "--output", "r.json"
    )
    assert done.returncode == 0, done.stderr
    assert set(load(tmp_path / "r.json")) == {"summary", "results"}
    plain = tmp_path / "q.jsonl"
    plain.write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    fill_store(tmp_path / "p.answers", chain / "v3", [plain], ANSWERS)
    models = ("--model", chain / "v1", "--base", "--questions", plain, "--output", "p.json")
    done = script(TEST, tmp_path, *models)
    assert done.returncode == 0, done.stderr
    assert "better" not in done.stdout
    assert load(tmp_path / "p.json")["comparison"]["overall"][0]["verdict"] == "cannot tell"


def judge_by(folder: Path, body: str, *beside: str) -> tuple[str, str]:
    """A scorers file with one function that decides, and the flag that names it."""
    (folder / "mine.py").write_text(f"def polite(answer, item): {body}\n", encoding="utf-8")
    entry = "{kind: function, function: 'mine.py:polite', headline: true}"
    (folder / "scorers.yaml").write_text(
        f"default: [{', '.join([*beside, entry])}]\n", encoding="utf-8"
    )
    return "--scorers", "scorers.yaml"


def test_scorers_decide_and_rescore_goes_on_with_them(chain: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "alpha")
    fill_store(tmp_path / "r.answers", chain / "v3", [suite], ANSWERS)
    chosen = judge_by(tmp_path, "return 'not' in answer", "schema")
    flags = ("--model", chain / "v1", "--base", "--questions", suite, "--output", "r.json")
    done = script(TEST, tmp_path, *flags, *chosen)
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "r.json")
    (overall,) = found["comparison"]["overall"]
    assert overall["verdict"] == "worse", "by schema, which decides otherwise, v1 is better"
    assert found["models"]["base"]["summary"]["scores"]["values"] == {"polite": 1.0}
    assert load(tmp_path / "r.answers" / "run.json")["scorers"] == str(tmp_path / "scorers.yaml")
    again = script("src/evaluation/rescore.py", tmp_path, "--comparison", "r.json")
    assert again.returncode == 0 and "Nothing moved." in again.stdout, again.stderr
    judge_by(tmp_path, "return 'not' not in answer", "schema")
    moved = script("src/evaluation/rescore.py", tmp_path, "--comparison", "r.json")
    assert moved.returncode == 0 and "24 answers flipped" in moved.stdout, moved.stderr


def test_what_a_scorer_could_not_score_is_said(chain: Path, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s", "alpha")
    fill_store(tmp_path / "r.answers", chain / "v3", [suite], ANSWERS)
    chosen = judge_by(tmp_path, "return item['x']")
    flags = ("--model", chain / "v1", "--questions", suite, "--output", "r.json", *chosen)
    said = "polite could not score 12 of 12 items of alpha_v1 (KeyError: 'x')."
    for more in ((), ("--base",)):
        done = script(TEST, tmp_path, *flags, *more)
        assert done.returncode == 0, done.stderr
        assert f"{said} It says nothing about these answers." in done.stderr
        assert done.stdout.count(f"Bear in mind: {said}") == 1
        assert "right answer" not in done.stdout
    notes = load(tmp_path / "r.json")["comparison"]["notes"]
    assert [note for note in notes if "right answer" in note] == []


def test_scorers_that_do_not_fit_are_a_sentence_before_anything_is_asked(
    chain: Path, tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "s", "alpha")
    (tmp_path / "s.yaml").write_text("tasks: {alpha: [{kind: text}]}\n", encoding="utf-8")
    flags = ("--model", chain / "v1", "--questions", suite, "--output", "r.json")
    done = script(TEST, tmp_path, *flags, "--scorers", "s.yaml")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "s.yaml does not fit these suites" in done.stderr
    missing = script(TEST, tmp_path, *flags, "--scorers", "none.yaml")
    assert missing.returncode == 2 and "none.yaml" in missing.stderr
    assert not (tmp_path / "r.answers").exists() and not (tmp_path / "r.json").exists()
