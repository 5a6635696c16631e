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
