"""batch_test_model.py: one command from questions to results, stopped and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from evaluation_support import version_on

from lorachain.paths import PROJECT_ROOT

HASHES = ("config", "tokenizer", "template", "weights", "id")

SCRIPT = PROJECT_ROOT / "batch_test_model.py"
SUMMARY = {
    "test_date",
    "model_path",
    "total_questions",
    "total_input_tokens",
    "total_output_tokens",
    "total_tokens",
    "avg_input_tokens_per_question",
    "avg_output_tokens_per_question",
    "avg_total_tokens_per_question",
}
RESULT = {
    "question_id",
    "question",
    "expected_answer",
    "model_answer",
    "topic",
    "difficulty",
    "token_usage",
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}


def command(*arguments: object) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def stored(folder: Path) -> list[dict[str, Any]]:
    """The whole answers of a store: the last line may still be on its way."""
    path = folder / "answers.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [row for row in map(json.loads, lines) if "text" in row]


@pytest.fixture(scope="session")
def v1(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return version_on(tiny_base, tmp_path_factory.mktemp("chain") / "fine_tuned", seed=1)


@pytest.fixture(scope="session")
def v2(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return version_on(tiny_base, tmp_path_factory.mktemp("chain") / "fine_tuned_v2", seed=2)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "fragen & 質問.json"
    rows = [
        {"question": f"Was ist {i} + {i}?", "answer": str(2 * i), "topic": "sums", "difficulty": 1}
        for i in range(12)
    ]
    path.write_text(json.dumps([*rows, {"question": "Why?"}]), encoding="utf-8")
    return path


def test_one_version_keeps_the_keys_that_people_read(
    v1: Path, questions: Path, tmp_path: Path
) -> None:
    flags = ("--questions", questions, "--output", "out/r.json", "--max-new-tokens", 6)
    done = run(tmp_path, "--model", v1, *flags)
    assert done.returncode == 0, done.stderr
    found = load(tmp_path / "out" / "r.json")
    summary, results = found["summary"], found["results"]
    assert summary.keys() >= SUMMARY
    assert summary["model_path"] == str(v1)
    assert summary["total_questions"] == len(results) == 13
    assert all(result.keys() >= RESULT for result in results)
    assert [r["question_id"] for r in results] == list(range(1, 14))
    first, last = results[3], results[-1]
    assert (first["question"], first["expected_answer"]) == ("Was ist 3 + 3?", "6")
    assert (first["topic"], first["difficulty"], last["topic"]) == ("sums", 1, None)
    for name in ("input", "output", "total"):
        total = sum(r["token_usage"][f"{name}_tokens"] for r in results)
        key = "total_tokens" if name == "total" else f"total_{name}_tokens"
        assert summary[key] == total
        assert summary[f"avg_{name}_tokens_per_question"] == round(total / 13, 2)
    assert {r["finish"] for r in results} <= {"eos", "length"}
    assert first["scores"]["strict"] is None, "a plain question is not scored as JSON"
    settings = summary["settings"]
    assert settings["decoding"] == {"max_new_tokens": 6, "temperature": 0.0}
    assert settings["batch_size"] == 8 and settings["packages"]["torch"]
    assert "fine_tuned" in done.stdout and "13" in done.stdout
    assert "fine_tuned: 13 of 13 answers" in done.stderr, "plain lines where there is no terminal"


def test_several_versions_stand_side_by_side(
    v1: Path, v2: Path, questions: Path, tmp_path: Path
) -> None:
    models = ("--model", v1, "--model", v2)
    flags = ("--questions", questions, "--output", "r.json", "--max-new-tokens", 6)
    done = run(tmp_path, *models, "--base", *flags)
    assert done.returncode == 0, done.stderr
    sections = load(tmp_path / "r.json")["models"]
    assert list(sections) == ["base", "fine_tuned", "fine_tuned_v2"]
    answers = [[r["model_answer"] for r in s["results"]] for s in sections.values()]
    assert answers[0] != answers[1] != answers[2] != answers[0]
    alone = run(tmp_path, "--model", v2, *flags[:2], "--output", "v2.json", *flags[4:])
    assert alone.returncode == 0, alone.stderr
    assert [r["model_answer"] for r in load(tmp_path / "v2.json")["results"]] == answers[2]


def test_a_suite_is_scored(v1: Path, tmp_path: Path) -> None:
    suite = PROJECT_ROOT / "eval" / "suites" / "fixed20_v1.jsonl"
    flags = ("--questions", suite, "--output", "r.json", "--max-new-tokens", 6, "--limit", 4)
    done = run(tmp_path, "--model", v1, *flags)
    assert done.returncode == 0, done.stderr
    scores = load(tmp_path / "r.json")["summary"]["scores"]
    assert (scores["n"], scores["scored"], scores["task_valid"]) == (4, 4, 0.0)
    assert "task" in done.stdout.splitlines()[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither of these signals")
def test_killed_and_run_again_it_makes_only_the_rest(
    v1: Path, questions: Path, tmp_path: Path
) -> None:
    flags = ("--model", v1, "--questions", questions, "--output", "r.json", "--batch-size", 2)
    flags += ("--max-new-tokens", 400)
    store = tmp_path / "r.answers"
    kill_when(tmp_path, flags, lambda: len(stored(store)) >= 3, signal.SIGKILL)
    before = stored(store)
    assert 3 <= len(before) < 13 and not (tmp_path / "r.json").exists()
    with (store / "answers.jsonl").open("ab") as file:
        file.write(b'{"fingerprint": "half a li')
    done = run(tmp_path, *flags)
    assert done.returncode == 0, done.stderr
    after = stored(store)
    assert after[: len(before)] == before
    assert len({row["prompt_sha256"] for row in after}) == len(after) == 13
    assert f"{len(before)} answers were there already" in done.stderr
    assert "cut off" in done.stderr
    assert load(tmp_path / "r.json")["summary"]["total_questions"] == 13


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither of these signals")
def test_ctrl_c_says_how_to_go_on(v1: Path, questions: Path, tmp_path: Path) -> None:
    flags = ("--model", v1, "--questions", questions, "--output", "r.json", "--batch-size", 1)
    flags += ("--max-new-tokens", 400)
    store = tmp_path / "r.answers"
    code, errors = kill_when(tmp_path, flags, lambda: len(stored(store)) >= 2, signal.SIGINT)
    assert code == 130
    assert f"{len(stored(store))} of 13 answers are made and kept" in errors
    assert "run the same command again" in errors and "Traceback" not in errors


def kill_when(
    folder: Path, flags: tuple[object, ...], ready: Any, how: signal.Signals
) -> tuple[int, str]:
    """Start the script, send it a signal when it is far enough. Returns exit code and stderr."""
    process = subprocess.Popen(
        command(*flags), cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not ready() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "it ended before it could be stopped"
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_a_version_that_is_called_base_stands_beside_the_base(
    v1: Path, questions: Path, tmp_path: Path
) -> None:
    version_folder_copy(v1, tmp_path / "base")
    flags = ("--questions", questions, "--limit", 2, "--max-new-tokens", 4, "--output", "r.json")
    done = run(tmp_path, "--model", "base", "--base", *flags)
    assert done.returncode == 0, done.stderr
    sections = load(tmp_path / "r.json")["models"]
    assert len(sections) == 2
    assert {s["summary"]["settings"]["model"] for s in sections.values()} > {"base"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to test"),
        (("--model", "v1", "--batch-size", "0"), "no whole number from 1 up"),
        (("--base", "--temperature", "hot"), "no number from 0 to 2"),
        (("--base", "--questions", "none.json"), "not found: none.json"),
        (("--base", "--questions", "empty.json"), "empty.json is empty"),
        (("--base", "--questions", "bad.json"), "bad.json[0]: needs one of"),
        (("--model", "none", "--questions", "good.json"), "Adapter folder not found: none"),
        (("--model", ".", "--questions", "good.json"), "is no adapter"),
        (("--model", "unfinished", "--questions", "good.json"), "is not finished"),
        (("--base", "--base-model", "none", "--questions", "good.json"), "Base model 'none'"),
        (("--model", "{v1}", "--questions", "good.json", "--output", "."), "is a folder"),
        (("--base", "--questions", "good.json", "--output", "good.json"), "overwrite"),
        (
            ("--model", "{v1}", "--base-model", "{other}", "--questions", "good.json"),
            "stands on another base",
        ),
        (("--model", "{v1}", "--model", "{v3}", "--questions", "good.json"), "different bases"),
        (("--model", "{broken}", "--questions", "good.json"), "is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_is_a_sentence_before_any_weights_load(
    arguments: tuple[str, ...], words: str, wrong: dict[str, str], tmp_path: Path
) -> None:
    done = run(tmp_path, *(argument.format(**wrong) for argument in arguments))
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("answers.jsonl"))


@pytest.fixture
def wrong(v1: Path, tiny_qwen: Path, tmp_path: Path) -> dict[str, str]:
    """What the mistakes above need: files in the working folder, and a version of another base."""
    (tmp_path / "empty.json").write_text("", encoding="utf-8")
    (tmp_path / "bad.json").write_text('[{"answer": "42"}]', encoding="utf-8")
    (tmp_path / "good.json").write_text('[{"question": "Why?"}]', encoding="utf-8")
    (tmp_path / "unfinished" / "checkpoint-2").mkdir(parents=True)
    broken = version_folder_copy(v1, tmp_path / "broken")
    with (broken / "adapter_model.safetensors").open("ab") as file:
        file.write(b"\0")
    v3 = version_folder_copy(v1, tmp_path / "v3")
    data = load(v3 / "lineage.json")
    data["base"] = {"name": "another", "fingerprint": dict.fromkeys(HASHES, "0" * 16)}
    (v3 / "lineage.json").write_text(json.dumps(data), encoding="utf-8")
    return {"v1": str(v1), "v3": str(v3), "broken": str(broken), "other": str(tiny_qwen)}


def version_folder_copy(version: Path, folder: Path) -> Path:
    import shutil

    return Path(shutil.copytree(version, folder))


def test_help_and_mistakes_do_not_import_torch(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--base", "--questions", "none.json"]):
        code = (
            "import runpy, sys\n"
            f"sys.argv = [{str(SCRIPT)!r}, *{arguments!r}]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit: pass\n"
            "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0
