"""From a spec to a trained version, and from what that version fails at to the next rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_support import BASIC, script
from pipeline_support import Pipeline, capable
from rescore_support import make_comparison, write_suite
from teacher_server import TeacherServer

from lorachain.datagen.lock import read_lock
from lorachain.datagen.pipeline.places import DEFAULT_SPEC
from lorachain.datagen.rowfiles import read_rows
from lorachain.datagen.rows import PlanRow
from lorachain.suites import read_suite


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The shipped spec, all of it. Read it only."""
    with TeacherServer(capable) as server:
        made = Pipeline(tmp_path_factory.mktemp("shipped"), server)
        made.done("--full", "--spec", str(DEFAULT_SPEC))
        yield made


def test_the_shipped_spec_ends_with_a_suite_that_is_frozen(shipped: Pipeline) -> None:
    suites = sorted((shipped.folder / "suites").iterdir())
    assert len(suites) == 1 and suites[0].name.startswith("dataset_v1_fixed")
    items = read_suite(suites[0]).items
    assert 8 <= len(items) <= 20 and len({item.task for item in items}) == 4
    before = shipped.files()
    shipped.done("--from", "qa", "--spec", str(DEFAULT_SPEC))  # the suite stands in its way no more
    assert shipped.files() == before


def test_a_fifth_of_a_small_dataset_is_for_the_test_and_stays_so(shipped: Pipeline) -> None:
    lock = read_lock(shipped.folder / "data/processed/splits/v1/splits.lock.jsonl")
    assert lock.rule is not None
    assert (lock.rule.train, lock.rule.val, lock.rule.test) == (0.7, 0.1, 0.2)


def test_its_rows_pass_the_preflight_and_train(
    shipped: Pipeline, tmp_path: Path, tiny_base: Path
) -> None:
    rows = shipped.folder / "data/processed/sft/v1"
    settings = [*BASIC, "training.max_steps=2", "data.max_seq_length=1024"]
    script("fine_tune").main(
        [
            *("--base-model", str(tiny_base), "--output", str(tmp_path / "version")),
            *("--train-data", str(rows / "train_sft.jsonl")),
            *("--val-data", str(rows / "val_sft.jsonl")),
            *(part for text in settings for part in ("--set", text)),
        ]
    )
    lineage = json.loads((tmp_path / "version" / "lineage.json").read_text(encoding="utf-8"))
    assert lineage and (tmp_path / "version" / "adapter_model.safetensors").is_file()


def test_failures_become_the_next_rows_beside_the_first_ones(tmp_path: Path) -> None:
    """`pack` failed, in a comparison as compare_versions.py writes it; its prompts are new ones."""
    with TeacherServer(capable) as server:
        place = Pipeline(tmp_path, server)
        place.done("--full")
        first = {r.prompt for r in read_rows(place.interim / "prompt_plan_v1.jsonl", PlanRow)}
        suite = write_suite(tmp_path)
        make_comparison(tmp_path / "compared", suite, {"base": ["none"] * 4, "v2": ["none"] * 4})
        rename_tasks(tmp_path / "compared" / "scores.jsonl")
        said = place.done("--full", "--from-failures", str(tmp_path / "compared"))
        assert "sft" in said and "after_v2" in said
        plan = read_rows(place.interim / "prompt_plan_after_v2.jsonl", PlanRow)
        assert {row.task for row in plan} == {"pack"} and not first & {row.prompt for row in plan}
        assert (place.home / "sft" / "after_v2" / "train_sft.jsonl").is_file()
        assert (place.home / "report_after_v2.html").is_file()
        assert "after_v2" in place.done("--status", "--from-failures", str(tmp_path / "compared"))


def rename_tasks(scores: Path) -> None:
    """Its suite asks for cards; here they are called as the spec calls its task."""
    lines = [json.loads(line) for line in scores.read_text(encoding="utf-8").splitlines()]
    text = "".join(json.dumps(line | {"task": "pack"}) + "\n" for line in lines)
    scores.write_text(text, encoding="utf-8")
