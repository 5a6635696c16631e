"""Base models: what is taken, what is refused unread, what a fingerprint tells apart."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorachain.errors import UserError
from lorachain.machine import Precision
from lorachain.models import Base, Fingerprint, find_base, fingerprint, load_base, load_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread")

FP32 = Precision("fp32", "none", "fp32", "nf4", True, "adamw_torch", ())


@pytest.fixture
def copy(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base that a test may change."""
    return Path(shutil.copytree(tiny_base, tmp_path / "copy"))


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import load, save_file

    tensors = load((folder / "model.safetensors").read_bytes())
    change(tensors)
    save_file(tensors, str(folder / "model.safetensors"), metadata={"format": "pt"})


def different(a: Fingerprint, b: Fingerprint) -> set[str]:
    return {k for k in a.as_dict() if a.as_dict()[k] != b.as_dict()[k]} - {"id"}


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 4093, 198, 2, 198]])).logits.float()


# --- the fingerprint ---


def test_fingerprint_is_the_same_for_a_copy(tiny_base: Path, copy: Path) -> None:
    found = fingerprint(copy)
    assert found == fingerprint(tiny_base)
    assert found.id == fingerprint(tiny_base).id
    assert len(found.id) == 16
    assert found.as_dict() == {**found.__dict__, "id": found.id}
    assert len({found.config, found.tokenizer, found.template, found.weights}) == 4


def test_fingerprint_survives_saving_again(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(tmp_path / "again")
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "again")
    assert fingerprint(tmp_path / "again") == fingerprint(tiny_base)


@pytest.mark.parametrize("size", ["200KB", "5MB"])
def test_fingerprint_does_not_depend_on_the_split_into_files(
    tiny_base: Path, tmp_path: Path, size: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.save_pretrained(tmp_path / "split", max_shard_size=size)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path / "split")
    assert len(list((tmp_path / "split").glob("*.safetensors"))) > 1
    assert fingerprint(tmp_path / "split") == fingerprint(tiny_base)


def test_fingerprint_does_not_depend_on_where_a_tensor_lies(tmp_path: Path) -> None:
    """Odd sizes, so that no offset is a round number in one of the two folders."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    sizes = (1, 5001, 9003, 12_291, 4097)
    tensors = {f"t{i}": torch.randint(256, (n,), dtype=torch.uint8) for i, n in enumerate(sizes)}
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
        (folder / "config.json").write_text("{}", encoding="utf-8")
    save_file(tensors, str(one / "model.safetensors"), metadata={"note": "x" * 13})
    for name, tensor in tensors.items():
        save_file({name: tensor}, str(many / f"model-{name}.safetensors"))
    index = {"weight_map": {name: f"model-{name}.safetensors" for name in tensors}}
    (many / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert fingerprint(one) == fingerprint(many)


def test_fingerprint_leaves_out_files_that_are_not_loaded(tiny_base: Path, copy: Path) -> None:
    """Some hubs' folders hold the weights twice, under another name."""
    shutil.copy(copy / "model.safetensors", copy / "consolidated.safetensors")
    assert fingerprint(copy) == fingerprint(tiny_base)


@pytest.mark.parametrize("at", ["start", "middle", "end"])
def test_a_changed_weight_changes_the_fingerprint(tiny_base: Path, copy: Path, at: str) -> None:
    def change(tensors: dict[str, Any]) -> None:
        flat = tensors["model.embed_tokens.weight"].view(-1)
        flat[{"start": 0, "middle": flat.numel() // 2, "end": -1}[at]] += 1

    edit_weights(copy, change)
    assert different(fingerprint(copy), fingerprint(tiny_base)) == {"weights"}


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("model.norm.weight"),
        lambda tensors: tensors.update(extra=tensors["model.norm.weight"].clone()),
        lambda tensors: tensors.update(
            {"model.norm.weight": tensors["model.norm.weight"].bfloat16()}
        ),
        lambda tensors: tensors.update(
            {"model.norm.weight": tensors["model.norm.weight"].view(1, -1)}
        ),
    ],
    ids=["missing", "extra", "type", "shape"],
)
def test_changed_tensors_change_the_fingerprint(
    tiny_base: Path, copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit_weights(copy, change)
    assert different(fingerprint(copy), fingerprint(tiny_base)) == {"weights"}


@pytest.mark.parametrize(
    "where", ["chat_template.jinja", "tokenizer_config.json"], ids=["own file", "in the config"]
)
def test_a_changed_template_changes_the_fingerprint(
    tiny_base: Path, copy: Path, where: str
) -> None:
    template = (copy / "chat_template.jinja").read_text(encoding="utf-8")
    if where == "tokenizer_config.json":  # where older releases kept it
        (copy / "chat_template.jinja").unlink()
        edit_json(copy / where, lambda c: c.update(chat_template=template))
        assert fingerprint(copy) == fingerprint(tiny_base)
        edit_json(copy / where, lambda c: c.update(chat_template=template.replace("SmolLM", "X")))
    else:
        (copy / where).write_text(template.replace("SmolLM", "X"), encoding="utf-8")
    assert different(fingerprint(copy), fingerprint(tiny_base)) == {"template"}


def test_a_changed_vocabulary_or_end_token_changes_the_fingerprint(
    tiny_base: Path, copy: Path
) -> None:
    edit_json(copy / "tokenizer_config.json", lambda c: c.update(eos_token="<|endoftext|>"))
    changed = fingerprint(copy)
    assert different(changed, fingerprint(tiny_base)) == {"tokenizer"}
    edit_json(
        copy / "tokenizer_config.json",
        lambda c: c.update(eos_token={"content": "<|im_end|>", "special": True}),
    )
    assert fingerprint(copy) == fingerprint(tiny_base)
    text = (copy / "tokenizer.json").read_text(encoding="utf-8")
    (copy / "tokenizer.json").write_text(text.replace("<jupyter_text>", "<jupyter_test>"))
    assert different(fingerprint(copy), fingerprint(tiny_base)) == {"tokenizer"}


def test_files_of_an_older_tokenizer_count_only_where_they_are_read(
    tiny_base: Path, copy: Path
) -> None:
    (copy / "vocab.json").write_text("{}", encoding="utf-8")
    assert fingerprint(copy) == fingerprint(tiny_base)
    (copy / "tokenizer.json").unlink()
    (copy / "vocab.json").write_text("{}", encoding="utf-8")
    (copy / "merges.txt").write_text("a b", encoding="utf-8")
    before = fingerprint(copy)
    (copy / "merges.txt").write_text("b c", encoding="utf-8")
    assert different(fingerprint(copy), before) == {"tokenizer"}


def test_a_changed_setting_changes_the_fingerprint_and_a_volatile_one_does_not(
    tiny_base: Path, copy: Path
) -> None:
    volatile = {
        "_name_or_path": "somewhere/else",
        "transformers_version": "9.9.9",
        "dtype": "bfloat16",
        "torch_dtype": "float16",
        "use_cache": False,
    }
    edit_json(copy / "config.json", lambda c: c.update(volatile))
    assert fingerprint(copy) == fingerprint(tiny_base)
    edit_json(copy / "config.json", lambda c: c.update(rms_norm_eps=1e-3))
    assert different(fingerprint(copy), fingerprint(tiny_base)) == {"config"}


def test_the_real_base_has_a_fingerprint_in_no_time(base_dir: Path) -> None:
    import time

    started = time.perf_counter()
    fingerprint(base_dir)
    assert time.perf_counter() - started < 2  # it is 20 ms; reading 270 MB twice is not


# --- what is refused ---


def test_a_folder_is_found(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_base(str(tiny_base))
    assert found == Base(str(tiny_base), tiny_base, fingerprint(tiny_base))
    monkeypatch.chdir(tiny_base.parent)
    assert find_base(tiny_base.name).folder == tiny_base


def test_the_built_in_name_is_found_from_anywhere(
    base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_base("smollm2-135m-instruct").folder == base_dir


def plant_canary(path: Path) -> Path:
    """A pickle that makes a folder when it is opened. Returns that folder's path."""
    made = path.with_name("opened")

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(made),)

    path.write_bytes(pickle.dumps(Canary()))
    return made


def test_pickled_weights_alone_are_refused_unopened(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    opened = plant_canary(copy / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"no safetensors.*pytorch_model\.bin.*never opened"):
        find_base(str(copy))
    assert not opened.exists()


def test_pickles_beside_safetensors_are_never_opened(copy: Path) -> None:
    made = [plant_canary(copy / name) for name in ("pytorch_model.bin", "training_args.bin")]
    base = find_base(str(copy))
    load_tokenizer(base)
    load_base(base, FP32, "cpu")
    assert not any(path.exists() for path in made)
    pickle.loads((copy / "pytorch_model.bin").read_bytes())  # noqa: S301 (the canary does sing)
    assert made[0].exists()


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused(copy: Path, file: str) -> None:
    (copy / "custom.py").write_text("raise SystemExit('code was run')", encoding="utf-8")
    edit_json(copy / file, lambda c: c.update(auto_map={"AutoModelForCausalLM": "custom.Model"}))
    with pytest.raises(UserError, match=f"code of its own \\({file} has auto_map\\)"):
        find_base(str(copy))


def test_an_adapter_is_no_base(copy: Path) -> None:
    (copy / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"is an adapter.*--source-model to fine_tune_v2\.py"):
        find_base(str(copy))


def test_a_folder_without_a_config_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder: it has no config\.json"):
        find_base(str(tmp_path))


@pytest.mark.parametrize(
    "name", ["no-such-thing", "./no/such", "/no/such/folder", "a/b/c", "~nobody/x", ""]
)
def test_a_name_that_is_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"neither a folder|no model folder|is not on this machine"):
        find_base(name)


@pytest.mark.parametrize("name", ["foo/bar--baz", "foo/bar.git", "foo/-bar"])
def test_a_name_that_no_hub_allows(name: str) -> None:
    with pytest.raises(UserError, match="neither a folder, nor a hub id"):
        find_base(name)


def test_a_hub_that_cannot_be_reached_is_a_sentence() -> None:
    """In a process of its own, with no network in the way: a loopback address that refuses."""
    code = (
        "from lorachain.models import find_base\nfrom lorachain.errors import UserError\n"
        "try:\n    find_base('Qwen/Qwen2.5-0.5B-Nothing')\n"
        "except UserError as error:\n    print(error)\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    for settings, says in (
        ({"HF_HUB_OFFLINE": "1"}, "was not asked, because HF_HUB_OFFLINE is set. Unset it and run"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "127.0.0.1 cannot be reached (LocalEntryNotFound"),
    ):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            env={**env, "HF_HOME": os.devnull + "-none", **settings},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "Qwen/Qwen2.5-0.5B-Nothing is not on this machine" in ran.stdout, ran.stderr
        assert says in ran.stdout
        assert "-none" in ran.stdout  # the folder that was looked in
        assert "hf download Qwen/Qwen2.5-0.5B-Nothing --local-dir FOLDER" in ran.stdout
        assert "--base-model smollm2-135m-instruct" in ran.stdout


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device", "blob"), "The disk is full: blob could not be"),
        (PermissionError(13, "Permission denied", "blob"), "blob cannot be read or written"),
    ],
)
def test_a_base_that_cannot_be_stored_is_no_fault_of_the_network(
    monkeypatch: pytest.MonkeyPatch, error: OSError, says: str
) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(UserError, match="org/base could not be fetched") as caught:
        find_base("org/base")
    assert says in str(caught.value) and "cannot be reached" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:1000]), "damaged"),
        (lambda p: p.write_bytes(p.read_bytes()[:-1000]), "damaged"),
        (lambda p: p.write_bytes(b""), "damaged"),
        (lambda p: p.write_bytes(b"\xff" * 64), "damaged"),
        (lambda p: p.write_bytes(b"\x02\0\0\0\0\0\0\0[]"), "damaged"),
        (lambda p: p.write_bytes(b'\x08\0\0\0\0\0\0\0{"a":{}}'), "damaged"),
    ],
    ids=["header cut", "data cut", "empty", "noise", "header a list", "header without offsets"],
)
def test_damaged_weights_are_named(copy: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(copy / "model.safetensors")
    with pytest.raises(UserError, match=rf"model\.safetensors is {says}"):
        find_base(str(copy))


def test_a_missing_shard_is_named(tiny_base: Path, tmp_path: Path) -> None:
    """A download that stopped half-way."""
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(tiny_base).save_pretrained(tmp_path, max_shard_size="5MB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    shards[-1].unlink()
    with pytest.raises(UserError, match=shards[-1].name):
        find_base(str(tmp_path))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_damaged_config_is_named(copy: Path, file: str, text: str) -> None:
    (copy / file).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=file):
        find_base(str(copy))


def test_a_chat_template_that_is_no_text_is_named(copy: Path) -> None:
    (copy / "chat_template.jinja").write_bytes(b"\xff\xfe{")
    with pytest.raises(UserError, match=r"chat_template\.jinja is damaged: it is not UTF-8"):
        find_base(str(copy))


def test_a_damaged_tokenizer_is_a_sentence(copy: Path) -> None:
    (copy / "tokenizer.json").write_text('{"version": "1.0"', encoding="utf-8")
    with pytest.raises(UserError, match=r"The tokenizer of .* cannot be loaded"):
        load_tokenizer(find_base(str(copy)))


def test_a_kind_of_model_that_nobody_knows(copy: Path) -> None:
    edit_json(copy / "config.json", lambda c: c.update(model_type="nobody-knows"))
    with pytest.raises(UserError, match=r"cannot be loaded.*nobody-knows"):
        load_base(find_base(str(copy)), FP32, "cpu")


# --- loading ---


@pytest.mark.parametrize("quantization", ["none", "4bit", "8bit"])
def test_a_tensor_that_is_missing_is_never_made_up(copy: Path, quantization: Any) -> None:
    """transformers fills a missing weight with noise and logs a warning."""
    name = "model.layers.1.mlp.up_proj.weight"
    edit_weights(copy, lambda tensors: tensors.pop(name))
    precision = Precision("fp32", quantization, "fp32", "nf4", True, "adamw_torch", ())
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.weight"):
        load_base(find_base(str(copy)), precision, "cpu")


def test_a_tensor_of_another_shape_is_a_sentence(copy: Path) -> None:
    edit_json(copy / "config.json", lambda c: c.update(intermediate_size=64))
    with pytest.raises(UserError, match="cannot be loaded"):
        load_base(find_base(str(copy)), FP32, "cpu")


@pytest.mark.parametrize("fixture", ["tiny_base", "tiny_qwen"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_loaded_frozen_in_the_type_that_was_asked_for(
    request: pytest.FixtureRequest, fixture: str, dtype: Any
) -> None:
    import torch

    base = find_base(str(request.getfixturevalue(fixture)))
    model = load_base(base, Precision(dtype, "none", dtype, "nf4", True, "sgd", ()), "cpu")
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    assert {p.dtype for p in model.parameters()} == {kind}
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training
    assert bool(torch.isfinite(logits(model)).all())


@pytest.mark.parametrize("quant_type", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
def test_four_bits_on_a_cpu(tiny_base: Path, quant_type: str, double: bool) -> None:
    import bitsandbytes
    import torch

    base = find_base(str(tiny_base))
    precision = Precision("fp32", "4bit", "bf16", quant_type, double, "adamw_torch", ())
    model = load_base(base, precision, "cpu")
    layers = [m for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14  # 7 in each of 2 layers; the head stays as it is
    assert {m.weight.quant_state.quant_type for m in layers} == {quant_type}
    assert {m.weight.quant_state.nested for m in layers} == {double}
    assert {m.compute_dtype for m in layers} == {torch.bfloat16}
    assert not any(p.requires_grad for p in model.parameters())
    found, exact = logits(model), logits(load_base(base, FP32, "cpu"))
    assert bool(torch.isfinite(found).all())
    assert 0 < float((found - exact).abs().mean()) < 0.5 * float(exact.abs().mean())


def test_eight_bits_on_a_cpu(tiny_base: Path) -> None:
    import bitsandbytes
    import torch

    base = find_base(str(tiny_base))
    precision = Precision("bf16", "8bit", "bf16", "nf4", True, "adamw_torch", ())
    model = load_base(base, precision, "cpu")
    assert sum(isinstance(m, bitsandbytes.nn.Linear8bitLt) for m in model.modules()) == 14
    found, exact = logits(model), logits(load_base(base, FP32, "cpu"))
    assert bool(torch.isfinite(found).all())
    assert 0 < float((found - exact).abs().mean()) < 0.2 * float(exact.abs().mean())


def test_attention_can_be_chosen(tiny_base: Path) -> None:
    import torch

    base = find_base(str(tiny_base))
    eager = load_base(base, FP32, "cpu", "eager")
    fast = load_base(base, FP32, "cpu")
    assert eager.config._attn_implementation == "eager"
    assert fast.config._attn_implementation == "sdpa"
    assert torch.allclose(logits(eager), logits(fast), atol=1e-4)
