"""The whole pipeline with a real model as the teacher: SmolLM2 behind llama.cpp's own server.

A model of 135 million parameters is a weak teacher. What it says is not the point: its answers are
cut, in prose, or JSON of another shape, and all of that must be counted, and end in good order.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_server import Llama, llama, small_model
from pipeline_support import KITS, Pipeline

from lorachain.datagen.rowfiles import read_rows
from lorachain.datagen.rows import DatasetRow, DraftRow
from lorachain.errors import UserError

pytest.importorskip("xllamacpp")
pytestmark = pytest.mark.model

# Short prompts, short answers, and one task without a schema: it can be answered by anybody.
SPEC = {
    "id": "kits_v1",
    "count": 2,
    "system": "Answer in one short sentence.",
    "tasks": {
        "say": {"prompts": KITS["tasks"]["pack"]["prompts"]},
        "rate": {
            "prompts": ["Rate: {{ who }}, {{ what }}, {{ when }}."],
            "schema": "ecommerce_push",
        },
    },
    "slots": KITS["slots"],
}


def place(folder: Path, server: Llama) -> Pipeline:
    made = Pipeline(folder, server)
    made.write_spec(SPEC)
    made.configure(
        endpoint={"base_url": server.url, "api_key_env": None},
        models=["smollm2"],
        prices={"smollm2": {"prompt": 0, "completion": 0}},
        request={"max_tokens": 90, "temperature": 0},
        limits={"concurrency": 1},
        retries={"answers": 1, "per_model": 2, "total": 4},
        timeouts={"read_s": 280, "total_s": 290},
    )
    return made


def test_a_sample_from_a_real_model_ends_in_good_order_and_is_never_asked_twice(
    tmp_path: Path,
) -> None:
    try:
        model = small_model()
    except UserError as error:
        pytest.skip(str(error))
    with llama(model) as server:
        made = place(tmp_path, server)
        ran = made.spawn("--sample", "3", "--max-usd", "0")
        assert ran.code in (0, 2) and "Traceback" not in ran.err, ran.err
        sample = made.home / "sample"
        drafts = read_rows(made.interim / "sample" / "drafts_v1.jsonl", DraftRow)
        judged = read_rows(sample / "dataset_v1.journal.jsonl", DatasetRow)
        assert len(drafts) == len(judged) == 3
        assert all(row.call["output_tokens"] > 0 for row in drafts)  # it did say something
        assert any(row.answer.strip() for row in drafts)
        if all(row.reasons for row in judged):
            assert ran.code == 2 and "No answer was accepted" in ran.err
        said = made.done("--sample", "3", "--status")
        assert "not begun" not in said.split("qa ")[0] and "3" in said
        assert (sample / "report.html").is_file()
        asked, files = server.tokens_read, made.files()
        assert asked > 0
        again = made.run("--sample", "3", "--max-usd", "0")
        assert again.code == ran.code
        assert server.tokens_read == asked and made.files() == files
