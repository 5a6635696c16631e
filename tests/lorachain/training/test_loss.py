"""Three ways to one loss: fused, gathered and full agree in value and in every gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from training_support import VOCABULARY, config_of, example, tiny_model, with_lora

from lorachain.training import loss as module
from lorachain.training.batching import pad
from lorachain.training.loss import FusedHeadLoss, HeadTap, choose_way, token_loss
from lorachain.training.train import _device_batch

ROWS = [example(9, 4), example(5, 2), example(12, [i % 3 == 0 for i in range(12)])]


@pytest.fixture
def batch() -> dict[str, torch.Tensor]:
    return pad(ROWS, 0)


def tapped(kind: str, **more: Any) -> tuple[Any, HeadTap]:
    model = with_lora(tiny_model(config_of(kind, **more)))
    return model, HeadTap(model.get_base_model())


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def rows_at_once(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Let the fused loss take this many positions at a time."""
    monkeypatch.setattr(module, "CHUNK_BYTES", rows * 4 * VOCABULARY)


@pytest.mark.parametrize("chunk", [1, 4, 5, 10, 10**6])
@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("Llama", {"tie_word_embeddings": False}),
        ("Qwen2", {"tie_word_embeddings": True}),
    ],
)
def test_every_way_gives_one_loss_and_the_same_gradients(
    kind: str,
    more: dict[str, Any],
    chunk: int,
    batch: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows_at_once(monkeypatch, chunk)
    model, tap = tapped(kind, **more)
    # The model's own loss, by its own shift and its own mean.
    trained = int((batch["labels"] != -100).sum())
    own = model(**batch).loss * trained
    own.backward()
    expected = gradients(model)
    assert len(expected) == 2 * 7 * 2 and all(g.abs().max() > 0 for g in expected.values())
    for way in ("full", "gathered", "fused"):
        found = token_loss(model, tap, batch, way)
        assert found.dtype is torch.float32 and found.shape == ()
        found.backward()
        assert found.item() == pytest.approx(own.item(), rel=1e-5)
        for name, gradient in gradients(model).items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 3, 7, 8, 1000])
def test_the_fused_head_equals_cross_entropy_for_hidden_states(
    bias: bool, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows_at_once(monkeypatch, chunk)
    torch.manual_seed(0)
    hidden = torch.randn(8, 16, requires_grad=True)
    weight = torch.randn(VOCABULARY, 16)
    shift = torch.randn(VOCABULARY) if bias else None
    targets = torch.randint(VOCABULARY, (8,))
    expected = F.cross_entropy(F.linear(hidden, weight, shift), targets, reduction="sum")
    found = FusedHeadLoss.apply(hidden, weight, shift, targets)
    torch.testing.assert_close(found, expected)
    # As in training: a part of a larger loss, scaled on its way back.
    (wanted,) = torch.autograd.grad(expected * 0.3, hidden)
    (got,) = torch.autograd.grad(found * 0.3, hidden)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_in_bf16_the_fused_head_is_as_near_to_float32_as_the_unfused_one() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(64, 32)
    weight, targets = torch.randn(VOCABULARY, 32) * 0.3, torch.randint(VOCABULARY, (64,))
    truth = hidden.bfloat16().float().requires_grad_()
    F.cross_entropy(F.linear(truth, weight.bfloat16().float()), targets).backward()

    def error(fused: bool) -> float:
        low = hidden.bfloat16().requires_grad_()
        if fused:
            loss = FusedHeadLoss.apply(low, weight.bfloat16(), None, targets) / 64
        else:
            loss = F.cross_entropy(F.linear(low, weight.bfloat16()).float(), targets)
        loss.backward()
        assert low.grad.dtype is torch.bfloat16
        return float((low.grad.float() - truth.grad).norm() / truth.grad.norm())

    assert error(fused=True) < max(1.2 * error(fused=False), 0.01)


def test_a_huge_logit_neither_overflows_nor_loses_the_loss() -> None:
    hidden = torch.full((2, 4), 60.0, requires_grad=True)
    weight = torch.zeros(VOCABULARY, 4)
    weight[3], weight[5] = 60.0, -60.0
    loss = FusedHeadLoss.apply(hidden, weight, None, torch.tensor([3, 5]))
    loss.backward()
    assert loss.item() == pytest.approx(2 * 4 * 3600)
    assert torch.isfinite(hidden.grad).all()


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    with torch.no_grad():
        hidden = torch.randn(4, 8)
        loss = FusedHeadLoss.apply(hidden, torch.randn(VOCABULARY, 8), None, torch.arange(4))
    assert not loss.requires_grad


class LargestTensor(TorchDispatchMode):
    """The most elements that any one result has while it is on."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_logits_are_held_in_chunks_only(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary, chunk = 5_000, 40
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk * 4 * vocabulary)
    model, tap = tapped("Llama", vocab_size=vocabulary)
    batch = pad([example(60, 45)] * 2, 0)
    held = {}
    for way in ("full", "gathered", "fused"):
        with LargestTensor() as largest:
            token_loss(model, tap, batch, way).backward()
        held[way] = largest.elements
    assert held == {
        "full": 2 * 60 * vocabulary,
        "gathered": 2 * 45 * vocabulary,
        "fused": chunk * vocabulary,
    }


@pytest.mark.parametrize(
    ("kind", "more", "way"),
    [
        ("Llama", {"tie_word_embeddings": False}, "fused"),
        ("Llama", {"tie_word_embeddings": True}, "fused"),
        ("Qwen2", {"tie_word_embeddings": True}, "fused"),
        ("Qwen3", {}, "fused"),
        ("Mistral", {}, "fused"),
        ("Phi", {"num_key_value_heads": 4}, "fused"),  # a head with a bias
        ("Gemma2", {"final_logit_softcapping": 2.0}, "gathered"),
        # These scale what the head gives. Before a linear head or after it, that is the same.
        ("Granite", {"logits_scaling": 8.0}, "fused"),
        ("Cohere", {"logit_scale": 0.0625}, "fused"),
    ],
)
def test_the_way_fits_the_architecture(
    kind: str, more: dict[str, Any], way: str, batch: dict[str, torch.Tensor]
) -> None:
    model, tap = tapped(kind, **more)
    assert choose_way(model, tap, batch) == way
    expected = float(model(**batch).loss.detach()) * int((batch["labels"] != -100).sum())
    assert token_loss(model, tap, batch, way).item() == pytest.approx(expected, rel=1e-4)


def test_the_model_is_left_in_the_mode_in_which_it_was(batch: dict[str, torch.Tensor]) -> None:
    model, tap = tapped("Llama")
    for training in (True, False):
        model.train(training)
        choose_way(model, tap, batch)
        assert model.training is training


def test_dropout_does_not_decide_the_way(batch: dict[str, torch.Tensor]) -> None:
    model = with_lora(tiny_model(config_of("Llama")), dropout=0.5).train()
    assert choose_way(model, HeadTap(model.get_base_model()), batch) == "fused"


class OwnHead(torch.nn.Module):
    """A model that uses its output embeddings' weight without calling them."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_model(config_of("Llama"))
        self.config = self.model.config

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.model.lm_head

    def forward(self, **inputs: Any) -> Any:
        inputs.pop("use_cache", None)
        out = self.model.model(**inputs)
        out.logits = F.linear(out.last_hidden_state, self.model.lm_head.weight)
        return out


def test_a_head_that_is_not_called_means_all_logits(batch: dict[str, torch.Tensor]) -> None:
    model = OwnHead()
    model.requires_grad_(False)
    tap = HeadTap(model)
    assert choose_way(model, tap, batch) == "full"
    expected = tiny_model(config_of("Llama"))(**batch).loss.item()
    found = token_loss(model, tap, batch, "full").item() / int((batch["labels"] != -100).sum())
    assert found == pytest.approx(expected, rel=1e-5)


class NoHead(OwnHead):
    """A model that names no output embeddings."""

    def get_output_embeddings(self) -> None:  # type: ignore[override]
        return None


def test_a_model_without_a_head_of_its_own_means_all_logits(
    batch: dict[str, torch.Tensor],
) -> None:
    model = NoHead()
    assert choose_way(model, HeadTap(model), batch) == "full"


def test_a_head_that_is_trained_is_not_fused(batch: dict[str, torch.Tensor]) -> None:
    """The fused head makes no gradient for its own weight."""
    model = tiny_model(config_of("Llama", tie_word_embeddings=False))
    assert model.lm_head.weight.requires_grad
    assert choose_way(model, HeadTap(model), batch) == "gathered"


def test_a_tapped_model_generates_as_before(batch: dict[str, torch.Tensor]) -> None:
    model = tiny_model(config_of("Llama"))
    ids = batch["input_ids"][:1, :4]
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    before, logits = model.generate(ids, **options), model(ids).logits
    tap = HeadTap(model.requires_grad_(False))
    token_loss(model, tap, batch, "fused")
    assert torch.equal(model.generate(ids, **options), before)
    assert torch.equal(model(ids).logits, logits)


def test_a_failure_in_the_model_leaves_the_tap_closed(batch: dict[str, torch.Tensor]) -> None:
    model = tiny_model(config_of("Llama")).requires_grad_(False)
    tap = HeadTap(model)
    with pytest.raises(ZeroDivisionError), tap.gather(torch.tensor([0]), fused=True):
        _ = 1 / 0
    assert model(batch["input_ids"]).logits.shape[-1] == VOCABULARY


def test_the_ways_are_compared_where_there_is_something_to_learn() -> None:
    """A truncated row may end in a long turn of the user: without a trained token all agree."""
    row = example(400, [40 < i < 50 for i in range(400)])
    labels = _device_batch([row, example(500, 3)], "cpu")["labels"]
    assert int((labels != -100).sum()) == 9
    assert labels.shape == (1, 50)
    long = example(400, 300)
    assert int((_device_batch([long], "cpu")["labels"] != -100).sum()) == 95
