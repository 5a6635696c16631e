"""Two trainings that taught next to nothing, by their data's shape: the gate names each cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chain_support import script
from seed_shaped import write_commerce, write_envelopes

from lorachain.training.gate import passing

Found = dict[str, list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "REPORTS", tmp_path / "reports")
    monkeypatch.chdir(tmp_path)


def look(base: Path, flags: list[str], *sets: str) -> tuple[int, dict[str, Any], Found]:
    """The exit code, the report, and its findings by code."""
    more = [part for text in sets for part in ("--set", text)]
    argv = ["--base-model", str(base), *flags, *more, "--output", "out", "--preflight-only"]
    code = script("fine_tune").main(argv)
    report = json.loads(Path("reports/out.json").read_text(encoding="utf-8"))
    found: Found = {}
    for finding in report["findings"]:
        found.setdefault(finding["code"], []).append(finding)
    assert not Path("out").exists()
    return code, report, found


def test_answers_over_the_limit_are_refused_with_what_each_way_out_costs(
    tiny_base: Path, tmp_path: Path
) -> None:
    code, report, found = look(tiny_base, write_envelopes(tmp_path))
    assert code == 2 and report["codes"]["errors"] == ["overlong-rows"]
    answers = report["files"][0]["lengths"]["answer"]
    assert 1_050 < answers["total"] / 120 < 1_150
    train, _ = found["overlong-rows"]
    assert train["says"].startswith("120 of 120 training rows are longer than data.max_seq_length")
    lossless = max(file["lengths"]["lossless"] for file in report["files"])
    for finding in found["overlong-rows"]:  # one limit that mends both
        assert f"--set data.max_seq_length={lossless} keeps everything" in finding["do"]
    assert "and the end of 120 rows" in train["do"]


def test_ten_steps_without_a_warm_up_are_named_with_what_would_mend_them(
    tiny_base: Path, tmp_path: Path
) -> None:
    _, report, found = look(tiny_base, write_envelopes(tmp_path))
    assert report["schedule"]["steps"] == 8
    assert found["few-steps"][0]["says"].startswith("8 optimizer steps in all (120 rows, 16 a step")
    assert "--set training.gradient_accumulation_steps=2 gives 60" in found["few-steps"][0]["do"]
    assert "--set training.warmup_steps=1" in found["no-warmup"][0]["do"]
    ten = look(tiny_base, write_envelopes(tmp_path, rows=160))
    assert ten[1]["schedule"]["steps"] == 10


def test_cutting_the_answers_loses_every_end_token(tiny_base: Path, tmp_path: Path) -> None:
    """How a row comes to lack its end here: it is trained always, unless the limit cuts it off."""
    flags = write_envelopes(tmp_path)
    code, report, found = look(tiny_base, flags, "data.on_overlong=truncate")
    assert code == 2 and report["codes"]["errors"] == ["end-untrained"]
    train, validation = found["end-untrained"]
    assert "cuts the end token off 120 of 120 training rows" in train["says"]
    assert len(train["where"]) == 120 and len(validation["where"]) == 12
    cut = found["answers-cut"][0]
    assert cut["severity"] == "warning" and cut["facts"]["answer_tokens"] > 10_000


def test_what_is_advised_mends_it(tiny_base: Path, tmp_path: Path) -> None:
    """All of it together: nothing but a note is left."""
    _, report, found = look(tiny_base, write_envelopes(tmp_path))
    assert found["overlong-rows"]
    longest = max(file["lengths"]["lossless"] for file in report["files"])
    mended = (
        *(f"data.max_seq_length={longest}", "training.gradient_accumulation_steps=2"),
        "training.warmup_steps=6",
    )
    code, report, _ = look(tiny_base, write_envelopes(tmp_path), *mended)
    assert code == 0
    assert report["codes"]["warnings"] == [] and report["schedule"]["steps"] == 60


def test_a_quarter_of_an_epoch_and_a_rate_that_ends_at_nothing_are_named(
    tiny_base: Path, tmp_path: Path
) -> None:
    code, report, found = look(tiny_base, write_commerce(tmp_path))
    assert code == 0
    assert "1,080 of 1,480 rows are never trained on" in found["partial-epoch"][0]["says"]
    assert found["partial-epoch"][0]["facts"]["share"] == pytest.approx(400 / 1480, abs=1e-3)
    assert "--set training.max_steps=740" in found["partial-epoch"][0]["do"]
    assert found["dead-tail"][0]["facts"]["last"] == pytest.approx(1.5e-10, rel=0.05)
    assert report["schedule"]["curve"][-1][0] == 200
    half = look(tiny_base, write_commerce(tmp_path), "training.per_device_train_batch_size=1")
    assert half[2]["partial-epoch"][0]["facts"]["share"] == pytest.approx(0.135, abs=1e-3)


def test_a_long_end_at_next_to_no_rate_is_a_warning(tiny_base: Path, tmp_path: Path) -> None:
    flags = write_commerce(tmp_path, rows=400)
    more = (
        "training.lr_scheduler_type=polynomial",
        "training.lr_scheduler_kwargs={power: 3, lr_end: 0}",
    )
    _, _, found = look(tiny_base, flags, *more)
    assert found["dead-tail"][0]["severity"] == "warning"
    assert found.keys() <= {"dead-tail", "default-system"}
