"""Adapters: the clauses of the parent contract that need weights, each broken once."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorachain import adapters
from lorachain.adapters import CONFIG, WEIGHTS
from lorachain.chat import ChatEncoder
from lorachain.config import LoraSection
from lorachain.errors import UserError
from lorachain.files import sha256_file
from lorachain.machine import Precision
from lorachain.models import Base, fingerprint, load_base

pytestmark = pytest.mark.usefixtures("one_thread")

KEY = "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight"
SETTING = {"dtype": "fp32", "quantization": "none", "device": "cpu"}


def loaded(folder: Path, dtype: Any = "fp32", quantization: Any = "none") -> Any:
    precision = Precision(dtype, quantization, dtype, "nf4", True, "adamw_torch", ())
    return load_base(Base("tiny", folder, fingerprint(folder)), precision, "cpu")


def train_a_little(model: Any, seed: int = 1) -> None:
    """Move every adapter tensor, B too, which is 0 in a new adapter."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)


def logits(model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.eval()(input_ids=torch.tensor([[1, 4093, 198, 504, 2]])).logits.float()


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved adapter of rank 4 on all linear layers of the tiny base. Never write into it."""
    folder = tmp_path_factory.mktemp("versions") / "v1"
    model = adapters.new_adapter(loaded(tiny_base), LoraSection(r=4, lora_alpha=8), seed=1)
    train_a_little(model)
    adapters.save_adapter(model, folder)
    return folder


@pytest.fixture
def parent(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "parent"))


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | changes), encoding="utf-8")


def edit_tensors(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    from safetensors.torch import save_file

    tensors = adapters.read_tensors(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, str(folder / WEIGHTS), metadata={"format": "pt"})


# --- made new ---


def test_a_new_adapter_changes_nothing_yet_and_only_it_is_trainable(tiny_qwen: Path) -> None:
    import torch

    base = loaded(tiny_qwen)
    before = logits(base)
    model = adapters.new_adapter(base, LoraSection(r=4), seed=1)
    assert torch.equal(logits(model), before)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert len(trainable) == 2 * 7 * 2
    assert all(".lora_A." in n or ".lora_B." in n for n in trainable)
    assert adapters.check_trainable(model) == sum(
        p.numel() for n, p in model.named_parameters() if "lora_" in n
    )


def test_the_seed_makes_the_adapter(tiny_base: Path) -> None:
    import torch

    first, again, other = (
        adapters.adapter_state(adapters.new_adapter(loaded(tiny_base), LoraSection(r=4), seed))
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first[KEY], other[KEY])


def test_every_setting_of_lora_arrives(tiny_base: Path) -> None:
    lora = LoraSection(
        r=3,
        lora_alpha=5,
        lora_dropout=0.25,
        target_modules=["q_proj", "down_proj"],
        layers_to_transform=[1],
        use_rslora=True,
        use_dora=True,
    )
    model = adapters.new_adapter(loaded(tiny_base), lora, seed=1)
    assert {n.rpartition(".")[2] for n in model.base_model.targeted_module_names} == {
        "q_proj",
        "down_proj",
    }
    assert all(".layers.1." in name for name in model.base_model.targeted_module_names)
    layer = model.base_model.model.model.layers[1].mlp.down_proj
    assert layer.r["default"] == 3
    assert layer.scaling["default"] == pytest.approx(5 / 3**0.5)  # rank-stabilised
    assert layer.lora_dropout["default"].p == 0.25
    assert "default" in layer.lora_magnitude_vector  # DoRA
    assert adapters.lora_shape(model.peft_config["default"].to_dict()) == {
        "lora.r": 3,
        "lora.lora_alpha": 5,
        "lora.lora_dropout": 0.25,
        "lora.target_modules": ["down_proj", "q_proj"],
        "lora.layers_to_transform": [1],
        "lora.use_rslora": True,
        "lora.use_dora": True,
    }


def test_auto_with_some_layers_only(tiny_base: Path) -> None:
    model = adapters.new_adapter(loaded(tiny_base), LoraSection(layers_to_transform=[0]), seed=1)
    names = model.base_model.targeted_module_names
    assert len(names) == 7
    assert all(".layers.0." in name for name in names)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"target_modules": ["nope"]}, "nope"),
        ({"target_modules": ["q_proj", "nope"]}, "no layer nope"),
        ({"target_modules": ["proj"]}, "proj"),
        ({"layers_to_transform": [7]}, "not found|no layer"),
        ({"layers_to_transform": [0, 7], "target_modules": ["q_proj"]}, r"no layer \[7\]"),
    ],
)
def test_what_the_base_does_not_have_is_named(
    tiny_base: Path, changes: dict[str, Any], says: str
) -> None:
    """PEFT adapts the rest and says nothing."""
    with pytest.raises(UserError, match=says):
        adapters.new_adapter(loaded(tiny_base), LoraSection(**changes), seed=1)


def test_nothing_trainable_is_an_error(tiny_base: Path) -> None:
    model = adapters.new_adapter(loaded(tiny_base), LoraSection(r=4), seed=1)
    model.requires_grad_(False)
    with pytest.raises(UserError, match="Nothing is trainable"):
        adapters.check_trainable(model)


def test_a_trainable_base_is_an_error(tiny_base: Path) -> None:
    model = adapters.new_adapter(loaded(tiny_base), LoraSection(r=4), seed=1)
    model.base_model.model.model.norm.weight.requires_grad_(True)
    with pytest.raises(UserError, match=r"model\.norm\.weight of the base is trainable"):
        adapters.check_trainable(model)


# --- gone on from ---


@pytest.mark.parametrize("quantization", ["none", "4bit"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_going_on_gives_the_same_model_trainable(
    tiny_base: Path, made: Path, quantization: str, dtype: str
) -> None:
    import torch

    model = adapters.continue_adapter(loaded(tiny_base, dtype, quantization), made)
    saved = adapters.read_tensors(made / WEIGHTS)
    state = adapters.adapter_state(model)
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[k], saved[k]) for k in saved)
    assert {p.dtype for n, p in model.named_parameters() if p.requires_grad} == {torch.float32}
    assert adapters.check_trainable(model) == sum(t.numel() for t in saved.values())


@pytest.mark.parametrize("changes", [{}, {"use_dora": True}, {"use_rslora": True}], ids=str)
@pytest.mark.parametrize("fixture", ["tiny_base", "tiny_qwen"])
def test_saved_and_loaded_again_in_plain_peft(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str, changes: dict[str, Any]
) -> None:
    import torch
    from peft import PeftModel

    base = request.getfixturevalue(fixture)
    model = adapters.new_adapter(loaded(base), LoraSection(r=4, **changes), seed=1)
    train_a_little(model)
    adapters.save_adapter(model, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [CONFIG, WEIGHTS]
    expected = logits(model)
    assert not torch.allclose(expected, logits(loaded(base)))
    plain = PeftModel.from_pretrained(loaded(base), str(tmp_path / "out"))
    assert torch.equal(logits(plain), expected)
    ours = adapters.continue_adapter(loaded(base), tmp_path / "out")
    assert torch.equal(logits(ours), expected)


def test_saved_as_float32_beside_a_base_of_less(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    model = adapters.new_adapter(loaded(tiny_base, "bf16"), LoraSection(r=4), seed=1)
    adapters.save_adapter(model, tmp_path)
    saved = adapters.read_tensors(tmp_path / WEIGHTS)
    assert {t.dtype for t in saved.values()} == {torch.float32}
    config = json.loads((tmp_path / CONFIG).read_text(encoding="utf-8"))
    assert config["inference_mode"] is True  # what everybody else's loader expects
    assert model.peft_config["default"].inference_mode is False  # and training goes on here


def test_a_failed_save_leaves_the_old_files_and_nothing_else(
    tiny_base: Path, parent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: sha256_file(p) for p in parent.iterdir()}
    model = adapters.continue_adapter(loaded(tiny_base), parent)
    train_a_little(model)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.peft_config["default"], "save_pretrained", full)
    with pytest.raises(OSError, match="No space left"):
        adapters.save_adapter(model, parent)
    assert {p.name: sha256_file(p) for p in parent.iterdir()} == before


def test_training_on_leaves_the_parent_as_it_was(
    tiny_base: Path, parent: Path, tmp_path: Path
) -> None:
    before = {p.name: sha256_file(p) for p in parent.iterdir()}
    model = adapters.continue_adapter(loaded(tiny_base), parent)
    train_a_little(model)
    adapters.save_adapter(model, tmp_path / "child")
    assert {p.name: sha256_file(p) for p in parent.iterdir()} == before
    assert sha256_file(tmp_path / "child" / WEIGHTS) != before[WEIGHTS]


def test_what_did_not_move_is_named(tiny_base: Path, made: Path) -> None:
    import torch

    model = adapters.continue_adapter(loaded(tiny_base), made)
    before = adapters.adapter_state(model)
    before = {k: v.clone() for k, v in before.items()}
    assert adapters.unmoved_modules(model, before) == sorted(before)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "layers.0.mlp.up_proj" not in name:
                parameter += 1e-6
    unmoved = adapters.unmoved_modules(model, before)
    assert [name.rpartition("layers.")[2] for name in unmoved] == [
        "0.mlp.up_proj.lora_A.weight",
        "0.mlp.up_proj.lora_B.weight",
    ]


# --- the contract, broken ---


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_a_missing_tensor(tiny_base: Path, parent: Path) -> None:
    edit_tensors(parent, lambda tensors: tensors.pop(KEY))
    with pytest.raises(UserError, match=rf"(?s)1 tensors are missing from the file: {KEY}"):
        adapters.continue_adapter(loaded(tiny_base), parent)


@pytest.mark.parametrize(
    "name", [KEY.replace("layers.1", "layers.9"), KEY.replace("lora_A", "lora_C"), "stray"]
)
def test_an_extra_tensor(tiny_base: Path, parent: Path, name: str) -> None:
    edit_tensors(parent, lambda tensors: tensors.update({name: tensors[KEY].clone()}))
    with pytest.raises(UserError, match=rf"(?s)fit no layer of this base: {name}"):
        adapters.continue_adapter(loaded(tiny_base), parent)


def test_a_tensor_of_another_shape(tiny_base: Path, parent: Path) -> None:
    edit_tensors(parent, lambda t: t.update({KEY: t[KEY][:, :-1].contiguous()}))
    with pytest.raises(UserError, match=r"layers\.1\.self_attn\.q_proj\.lora_A"):
        adapters.continue_adapter(loaded(tiny_base), parent)


def test_another_rank_than_the_config_says(tiny_base: Path, parent: Path) -> None:
    edit_config(parent, r=8)
    with pytest.raises(UserError, match=r"does not fit this base|another shape"):
        adapters.continue_adapter(loaded(tiny_base), parent)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_number_that_is_none(tiny_base: Path, parent: Path, value: str) -> None:
    edit_tensors(parent, lambda tensors: tensors[KEY].view(-1)[3].fill_(float(value)))
    with pytest.raises(UserError, match=rf"(?s)1 tensors hold NaN or infinity: {KEY}"):
        adapters.continue_adapter(loaded(tiny_base), parent)


def test_tensors_that_arrive_otherwise_than_they_were_saved(tiny_base: Path, made: Path) -> None:
    model = adapters.continue_adapter(loaded(tiny_base), made)
    saved = adapters.read_tensors(made / WEIGHTS)
    adapters.check_arrived(model, saved, "v1")
    saved[KEY] = saved[KEY] + 1e-6
    with pytest.raises(UserError, match=rf"(?s)did not arrive as they are in the file: {KEY}"):
        adapters.check_arrived(model, saved, "v1")


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")
def test_every_problem_is_listed_at_once(tiny_base: Path, parent: Path) -> None:
    def change(tensors: dict[str, Any]) -> None:
        tensors["stray"] = tensors.pop(KEY)
        for name in list(tensors)[:6]:
            tensors[name].view(-1)[0] = float("nan")

    edit_tensors(parent, change)
    with pytest.raises(UserError) as caught:
        adapters.continue_adapter(loaded(tiny_base), parent)
    message = str(caught.value)
    assert "1 tensors are missing" in message
    assert "fit no layer of this base: stray" in message
    assert "tensors hold NaN" in message
    assert ", ..." in message
    assert message.endswith("It is damaged, or it belongs to another base.")


@pytest.mark.parametrize("keep", [0, 4, 100, -1], ids=["empty", "4 bytes", "in the header", "cut"])
def test_a_cut_file(tiny_base: Path, parent: Path, keep: int) -> None:
    data = (parent / WEIGHTS).read_bytes()
    (parent / WEIGHTS).write_bytes(data[:keep])
    with pytest.raises(UserError, match=r"adapter_model\.safetensors cannot be read"):
        adapters.continue_adapter(loaded(tiny_base), parent)


def test_an_adapter_of_a_base_with_more_layers(tiny_base: Path, tmp_path: Path) -> None:
    """PEFT loads half of it and is silent (faults.md)."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig.from_pretrained(tiny_base, num_hidden_layers=4)
    deeper = AutoModelForCausalLM.from_config(config)
    adapters.save_adapter(adapters.new_adapter(deeper, LoraSection(r=4), 1), tmp_path)
    with pytest.raises(UserError, match=r"(?s)28 tensors in the file fit no layer"):
        adapters.continue_adapter(loaded(tiny_base), tmp_path)


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "optimizer.pt", "x.PTH", "rng.pkl", "a.ckpt", "x.npy"]
)
def test_pickles_in_the_folder_are_refused_unopened(
    tiny_base: Path, parent: Path, name: str
) -> None:
    opened = parent.parent / "opened"

    class Canary:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(opened),)

    (parent / name).write_bytes(pickle.dumps(Canary()))
    with pytest.raises(UserError, match=rf"never opened: {name}"):
        adapters.continue_adapter(loaded(tiny_base), parent)
    assert not opened.exists()


@pytest.mark.parametrize(
    "mapping",
    [
        {"base_model_class": "Evil", "parent_library": "evil.code"},
        {"base_model_class": "Evil", "parent_library": "transformers_evil"},
        {"base_model_class": "Evil", "parent_library": None},
        {"base_model_class": "Evil"},
        ["evil"],
        "evil",
    ],
)
def test_code_of_its_own_is_refused(parent: Path, mapping: Any) -> None:
    edit_config(parent, auto_mapping=mapping)
    with pytest.raises(UserError, match="code of its own"):
        adapters.adapter_config(parent)


def test_the_mapping_that_peft_writes_itself_is_not_refused(parent: Path) -> None:
    edit_config(
        parent,
        auto_mapping={
            "base_model_class": "LlamaForCausalLM",
            "parent_library": "transformers.models.llama.modeling_llama",
        },
    )
    assert adapters.adapter_config(parent)["r"] == 4


def test_what_is_no_adapter(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Adapter folder not found"):
        adapters.adapter_config(tmp_path / "nowhere")
    for name in (WEIGHTS, CONFIG):
        other = Path(shutil.copytree(parent, tmp_path / f"without-{name}"))
        (other / name).unlink()
        with pytest.raises(UserError, match=f"is no adapter: it has no {name}"):
            adapters.adapter_config(other)
    edit_config(parent, peft_type="IA3")
    with pytest.raises(UserError, match="no LoRA adapter"):
        adapters.adapter_config(parent)
    for text in ("[]", "null"):
        (parent / CONFIG).write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match="no LoRA adapter"):
            adapters.adapter_config(parent)
    (parent / CONFIG).write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="The adapter's config cannot be read"):
        adapters.adapter_config(parent)


@pytest.mark.parametrize("key", ["r", "lora_alpha", "lora_dropout", "target_modules"])
def test_a_config_that_lacks_the_shape(parent: Path, key: str) -> None:
    edit_config(parent, **{key: None})
    with pytest.raises(UserError, match=f"is damaged: it has no {key}"):
        adapters.adapter_config(parent)


# --- the fixed prompt ---


@pytest.fixture
def encoder(smol_tokenizer: Any) -> ChatEncoder:
    return ChatEncoder(smol_tokenizer)


def test_the_parent_answers_as_it_did(tiny_base: Path, made: Path, encoder: ChatEncoder) -> None:
    then = adapters.probe(adapters.continue_adapter(loaded(tiny_base), made), encoder, SETTING)
    assert then == json.loads(json.dumps(then))
    assert len(then["logits"]) == adapters.PROBE_LOGITS
    assert len(set(then["logits"])) > 60
    model = adapters.continue_adapter(loaded(tiny_base), made)
    model.train()
    now = adapters.probe(model, encoder, SETTING)  # without dropout, whatever the mode
    assert model.training
    assert adapters.compare_probe(now, then) == 0


def test_an_adapter_that_was_lost_or_changed_shows(
    tiny_base: Path, made: Path, encoder: ChatEncoder
) -> None:
    model = adapters.continue_adapter(loaded(tiny_base), made)
    then = adapters.probe(model, encoder, SETTING)
    with model.disable_adapter():
        without = adapters.probe(model, encoder, SETTING)
    train_a_little(model, seed=2)
    changed = adapters.probe(model, encoder, SETTING)
    for now in (without, changed):
        with pytest.raises(UserError, match="does not answer as it did"):
            adapters.compare_probe(now, then)


def test_the_probe_takes_first_and_last_logits_and_exact_places() -> None:
    """151,936 is Qwen2.5's vocabulary: every third place is a whole number, on a knife's edge."""
    last = 151_936 - 1
    places = [i * last // 63 for i in range(64)]
    assert places[0] == 0
    assert places[-1] == last
    assert sum(i * last % 63 == 0 for i in range(64)) > 20


@pytest.mark.parametrize("at", [0, 1, 63])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_logit_that_is_no_number_is_never_equal(at: int, value: float) -> None:
    then = {"logits": [1.0] * 64, **SETTING}
    now = {"logits": [1.0] * 64, **SETTING}
    now["logits"][at] = value  # type: ignore[index]
    with pytest.raises(UserError, match="does not answer as it did"):
        adapters.compare_probe(now, then)


@pytest.mark.parametrize(
    ("change", "difference", "passes"),
    [
        ({}, 0.01, True),
        ({}, 0.05, False),
        ({"dtype": "bf16"}, 2.0, True),
        ({"device": "cuda"}, 2.0, True),
        ({"quantization": "4bit"}, 4.0, False),
    ],
)
def test_how_much_rounding_explains(
    change: dict[str, str], difference: float, passes: bool
) -> None:
    then = {"logits": [1.0] * 64, **SETTING}
    now = {"logits": [1.0] * 63 + [1.0 + difference], **SETTING, **change}
    if passes:
        assert adapters.compare_probe(now, then) == pytest.approx(difference)
        return
    with pytest.raises(UserError, match="does not answer as it did"):
        adapters.compare_probe(now, then)
