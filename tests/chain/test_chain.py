"""V1 -> V2 -> V3 through the real scripts: what comes out, and what stays untouched."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from chain_support import Place, largest_difference, lineage, tensors

from lorachain.errors import UserError

ALLOWED = {".safetensors", ".json", ".jsonl", ".txt", ".md", ".jinja", ".model"}


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_chain_is_recorded_from_v3_back_to_the_base(chain: tuple[Place, list[Path]]) -> None:
    _, (v1, v2, v3) = chain
    assert lineage(v1)["parent"] is None
    assert lineage(v2)["parent"]["path"] == "../v1"
    assert lineage(v3)["parent"]["name"] == "v2"
    one, three = lineage(v1), lineage(v3)
    assert one["base"]["fingerprint"] == three["base"]["fingerprint"]
    assert (
        lineage(v3)["parent"]["adapter_sha256"] == lineage(v2)["files"]["adapter_model.safetensors"]
    )


def test_each_version_learned_and_v3_is_measured_on_every_ancestor(
    chain: tuple[Place, list[Path]],
) -> None:
    for folder in chain[1]:
        metrics = lineage(folder)["metrics"]
        assert metrics["train_loss_last"] < metrics["train_loss_first"]
    assert set(lineage(chain[1][2])["metrics"]["validation_loss"]) == {"v1", "v2", "v3"}


def test_a_parent_is_never_changed(place: Place) -> None:
    v1 = place.v1("v1")
    before = hashes(v1)
    v2 = place.v2(v1, "v2")
    assert hashes(v1) == before
    assert largest_difference(v1, v2) > 0


def test_no_output_holds_a_pickle(chain: tuple[Place, list[Path]]) -> None:
    for folder in chain[1]:
        for path in folder.rglob("*"):
            if path.is_dir() or path.name == ".lock":
                continue
            if "tfevents" in path.name:
                assert path.parent.name == "logs"
                continue
            assert path.suffix in ALLOWED or path.name == "preflight.html", path
            start = path.read_bytes()[:2]
            assert start not in (b"PK", b"\x80\x02", b"\x80\x04"), path  # zip (torch.save), pickle


def test_plain_peft_loads_a_version_with_equal_logits(chain: tuple[Place, list[Path]]) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place, (_, v2, _) = chain
    base = AutoModelForCausalLM.from_pretrained(place.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, v2).eval()
    tokenizer = AutoTokenizer.from_pretrained(v2)
    probe = lineage(v2)["probe"]
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Name one thing that you can do for me."}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )["input_ids"]
    with torch.no_grad():
        logits = model(ids).logits[0, -1]
    at = torch.linspace(0, logits.numel() - 1, len(probe["logits"])).long()
    assert torch.allclose(logits[at], torch.tensor(probe["logits"]), atol=1e-4)


def test_a_continued_stage_says_where_every_setting_comes_from(
    chain: tuple[Place, list[Path]], caplog: pytest.LogCaptureFixture
) -> None:
    place, (v1, _, _) = chain
    with caplog.at_level(logging.INFO, logger="lorachain"):
        place.v2(v1, "table", sets=["training.learning_rate=2e-2"])
    table = caplog.text
    for key, origin in (
        ("lora.r", "inherited"),
        ("model.base_model", "inherited"),
        ("training.learning_rate", "overridden"),
        ("training.seed", "as given"),
    ):
        words = [" ".join(line.split()) for line in table.splitlines()]
        assert [w for w in words if w.startswith(f"{key} {origin} ")], (key, origin)
    from lorachain.config import KNOWN_KEYS

    said = {line.split()[0] for line in table.splitlines() if line.startswith("  ")}
    assert set(KNOWN_KEYS) <= said


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_parent_answers_exactly_as_it_did_when_it_was_finished(
    place: Place, caplog: pytest.LogCaptureFixture, dtype: str
) -> None:
    v1 = place.v1("v1", sets=[f"model.dtype={dtype}", "training.num_train_epochs=8"])
    with caplog.at_level(logging.DEBUG, logger="lorachain"):
        place.v2(v1, "v2", sets=[f"model.dtype={dtype}"])
    assert "The parent's probe differs by 0." in caplog.messages


def test_the_base_is_held_as_the_parents_was_unless_asked_otherwise(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """Across a chain that began in 4 bits, with a default of 4 bits that a CPU would replace."""
    v1 = place.v1("v1", sets=["quantization.load_in_4bit=true"])
    flags = ["--source-model", str(v1), *place.data(2), "--set", "model.dtype=fp32"]
    v2 = place._run("fine_tune_v2", "v2", flags, [])
    assert lineage(v2)["identity"]["precision"] == lineage(v1)["identity"]["precision"]
    assert lineage(v2)["settings"]["quantization.load_in_4bit"] == "inherited"
    with caplog.at_level(logging.WARNING, logger="lorachain"):
        v3 = place.v2(v1, "v3")  # asks for load_in_4bit=false
    assert lineage(v3)["identity"]["precision"] == "fp32, none"
    assert "held in fp32, 4bit; here it is held in fp32, none" in caplog.text


def test_replay_mixes_in_the_whole_line_by_trained_tokens(chain: tuple[Place, list[Path]]) -> None:
    data = lineage(chain[1][2])["data"]
    drawn = {entry["from"]: entry["rows_drawn"] for entry in data if entry["role"] == "replay"}
    assert set(drawn) == {"v1", "v2"}
    assert all(count > 0 for count in drawn.values())


def test_replay_names_a_training_file_that_is_gone(place: Place) -> None:
    v1 = place.v1("v1")
    (place.folder / "train1.jsonl").unlink()
    with pytest.raises(UserError, match=r"training data of v1, .*train1\.jsonl.* is not there"):
        place.v2(v1, "v2", "--replay-share", "0.3")
    assert not (place.folder / "v2").exists()


def test_replay_refuses_a_training_file_that_changed(place: Place) -> None:
    v1 = place.v1("v1")
    with (place.folder / "train1.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"question": "q", "answer": "a"}\n')
    with pytest.raises(UserError, match="has changed since v1 was trained"):
        place.v2(v1, "v2", "--replay-share", "0.3")


def test_a_finished_version_is_left_alone_and_another_one_is_not_written_over_it(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    v1 = place.v1("v1")
    before = hashes(v1)
    with caplog.at_level(logging.INFO, logger="lorachain"):
        place.v1("v1")
    assert "finished already" in caplog.text
    with pytest.raises(UserError, match=r"training\.learning_rate: was 0\.01, now 0\.02"):
        place.v1("v1", sets=["training.learning_rate=0.02"])
    assert hashes(v1) == before


def test_the_commands_to_run_next_work_from_another_folder(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place.folder)
    with caplog.at_level(logging.INFO, logger="lorachain"):
        place.v1("v1")
    asked, gone_on = caplog.text.split("or go on from it:\n")[1].splitlines()[:2]
    for line, flags in ((asked, ["--model", "v1"]), (gone_on, ["--source-model", "v1"])):
        _, command, *words = shlex.split(line)
        assert Path(command).is_file()
        assert words[:2] == flags


def test_restart_moves_the_old_version_aside_and_deletes_nothing(place: Place) -> None:
    v1 = place.v1("v1")
    before = hashes(v1)
    place.v1("v1", "--restart", sets=["training.learning_rate=0.02"])
    kept = hashes(place.folder / "v1.before-restart-1")
    assert {k: v for k, v in before.items() if k != ".lock"} == kept
    assert lineage(v1)["config"]["training"]["learning_rate"] == 0.02


def test_fine_tune_refuses_a_parent(place: Place, chain: tuple[Place, list[Path]]) -> None:
    parent = chain[1][0]
    with pytest.raises(UserError, match="version 1, which has no parent"):
        place.v1("x", sets=[f"model.source_model={parent}"])
    with pytest.raises(SystemExit) as stop:
        place.v1("x", "--source-model", str(parent))
    assert stop.value.code == 2


def test_fine_tune_v2_requires_a_parent_that_is_there(place: Place) -> None:
    with pytest.raises(UserError, match="not found"):
        place.v2(place.folder / "nothing", "v2")


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--train-data", "nothing.jsonl"], "--train-data: file not found"),
        (["--set", "training.lerning_rate=1"], r"did you mean training\.learning_rate"),
        (["--set", "training.optim=adamax9000"], "adamax9000"),
        (["--set", "training.lr_scheduler_type=cosinus"], "cosinus"),
        (["--set", "data.max_seq_length=16"], r"--set data\.on_overlong=drop"),
        (["--set", "lora.target_modules=[no_proj]"], "no_proj"),
        (["--base-model", "nobody/nothing"], "was not asked, because HF_HUB_OFFLINE is set"),
        (["--base-model", "./nothing"], "neither a folder"),
        (["--config", "nothing.yaml"], "Config file not found"),
        (["--val-data", "none", "--set", "training.load_best_model_at_end=true"], "--val-data"),
    ],
)
def test_a_mistake_is_one_clear_sentence_and_leaves_nothing_behind(
    place: Place, flags: list[str], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        place.v1("v1", *flags)
    assert not (place.folder / "v1").exists()


def test_lineage_is_portable_with_the_models_folder(
    chain: tuple[Place, list[Path]], tmp_path: Path
) -> None:
    from lorachain import lineage as lib

    for folder in chain[1]:
        shutil.copytree(folder, tmp_path / "moved" / folder.name)
    v3 = lib.read(tmp_path / "moved" / "v3")
    assert [a.name for a in lib.ancestors(v3)] == ["v2", "v1"]
    assert lib.problems(v3) == []


def test_the_log_and_the_card_tell_the_loss(chain: tuple[Place, list[Path]]) -> None:
    folder = chain[1][0]
    lines = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
    steps = [e["step"] for e in entries if "loss" in e]
    assert steps == list(range(1, 5))
    assert any("eval_loss" in e for e in entries)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "*" in card and "train1.jsonl" in card and "none: this is version 1" in card
    assert tensors(folder)
