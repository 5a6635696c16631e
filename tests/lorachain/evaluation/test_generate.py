"""Generation: batches answer as single prompts do, versions are switched, memory may run out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_support import CPU, FP32

from lorachain.chat import ChatEncoder
from lorachain.errors import UserError
from lorachain.evaluation.decode import Decoded, decode
from lorachain.evaluation.generate import Generator, is_out_of_memory, load_generator
from lorachain.evaluation.generated import Decoding, Generated, Prompt
from lorachain.models import Base, find_base
from lorachain.records import Message

QUESTIONS = ["Hi", "What is a lake?", "Name three rivers of Africa and their lengths.", "1 + 1?"]
PROMPTS = [Prompt((Message("user", text),)) for text in QUESTIONS]
SHORT = Decoding(max_new_tokens=12)


def answers(
    generator: Generator,
    prompts: Sequence[Prompt] = PROMPTS,
    decoding: Decoding = SHORT,
    version: Path | None = None,
) -> list[Generated]:
    found: dict[int, Generated] = {}

    def keep(index: int, answer: Generated) -> None:
        assert index not in found, "an answer came twice"
        found[index] = answer

    generator.answer(prompts, decoding, keep, version)
    return [found[i] for i in range(len(prompts))]


def texts(found: Sequence[Generated]) -> list[str]:
    return [answer.text for answer in found]


@pytest.fixture
def generator(tiny: Base) -> Generator:
    return load_generator(tiny, FP32, CPU, batch_size=8)


@pytest.mark.parametrize("base", ["tiny_base", "tiny_qwen"])
def test_a_batch_answers_as_each_prompt_alone(base: str, request: pytest.FixtureRequest) -> None:
    generator = load_generator(find_base(str(request.getfixturevalue(base))), FP32, CPU, 8)
    together = answers(generator)
    generator.batch_size = 1
    alone = answers(generator)
    assert texts(together) == texts(alone)
    assert [a.prompt_tokens for a in together] == [a.prompt_tokens for a in alone]
    assert len(set(texts(alone))) == len(alone), "prompts that all answer alike test nothing"


def test_greedy_is_what_transformers_calls_greedy(generator: Generator) -> None:
    ids = torch.tensor([generator.encoder.encode_prompt(PROMPTS[2].messages)])
    expected = generator.model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
    )
    text = generator.encoder.tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)
    assert texts(answers(generator, PROMPTS[2:3])) == [text]


def test_nothing_of_the_generation_config_reaches_the_answers(generator: Generator) -> None:
    before = texts(answers(generator))
    settings = generator.model.generation_config
    settings.repetition_penalty, settings.do_sample, settings.top_k = 5.0, True, 3
    settings.no_repeat_ngram_size, settings.max_new_tokens = 1, 2
    assert texts(answers(generator)) == before


def test_switching_versions_answers_as_each_loaded_alone(
    tiny: Base, generator: Generator, v1: Path, v2: Path
) -> None:
    base = texts(answers(generator))
    first, second = texts(answers(generator, version=v1)), texts(answers(generator, version=v2))
    assert len({*map(tuple, (base, first, second))}) == 3
    for version, expected in ((v2, second), (v1, first)):
        alone = load_generator(tiny, FP32, CPU, batch_size=8)
        assert texts(answers(alone, version=version)) == expected
    assert texts(answers(generator, version=v1)) == first
    assert texts(answers(generator)) == base


def test_a_version_answers_as_plain_peft_does(tiny: Base, generator: Generator, v1: Path) -> None:
    from peft import PeftModel

    from lorachain.models import load_base

    plain = PeftModel.from_pretrained(load_base(tiny, FP32, "cpu"), str(v1))
    ids = torch.tensor([generator.encoder.encode_prompt(PROMPTS[1].messages)])
    expected = plain.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
    )
    text = generator.encoder.tokenizer.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)
    assert texts(answers(generator, PROMPTS[1:2], version=v1)) == [text]


def test_an_answer_ends_at_a_stop_token_and_says_so(generator: Generator) -> None:
    encoder, model = generator.encoder, generator.model
    prompts = [encoder.encode_prompt(prompt.messages) for prompt in PROMPTS]
    found = run(model, prompts, stop=[])
    assert {a.finish for a in found} == {"length"}
    assert {len(a.ids) for a in found} == {12}
    stop = found[0].ids[4]
    stopped = run(model, prompts, stop=[stop])
    for before, after in zip(found, stopped, strict=True):
        at = before.ids.index(stop) + 1 if stop in before.ids else 12
        assert after.ids == before.ids[:at], "rows must go on unchanged when others leave the batch"
        assert after.finish == ("eos" if stop in before.ids else "length")
    assert len({len(a.ids) for a in stopped}) > 1, "all ended together, so nothing was tested"


def test_the_stop_token_is_counted_and_not_shown(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = PROMPTS[0]
    first = run(generator.model, [generator.encoder.encode_prompt(prompt.messages)], stop=[])[0]
    monkeypatch.setattr(ChatEncoder, "stop_ids", [first.ids[0]])
    answer = answers(generator, [prompt])[0]
    assert (answer.text, answer.output_tokens, answer.finish) == ("", 1, "eos")


def test_the_models_own_stop_tokens_end_an_answer_too(generator: Generator) -> None:
    """Its generation_config may name more than the tokenizer does, one or several."""
    prompt = generator.encoder.encode_prompt(PROMPTS[0].messages)
    first, second = run(generator.model, [prompt], stop=[])[0].ids[:2]
    for named in (first, [second, first]):
        generator.model.generation_config.eos_token_id = named
        answer = answers(generator, PROMPTS[:1])[0]
        assert (answer.output_tokens, answer.finish) == (1, "eos")
    assert set(generator.encoder.stop_ids) < set(generator.stop_ids)


def test_a_base_that_does_not_fit_is_the_users_to_mend(
    tiny: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lorachain import models

    def full(*args: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(models, "load_base", full)
    with pytest.raises(UserError, match=r"not enough memory for .* in fp32"):
        load_generator(tiny, FP32, CPU, batch_size=8)


def run(model: Any, prompts: list[list[int]], stop: list[int], **how: Any) -> list[Decoded]:
    found: dict[int, Decoded] = {}
    decode(model, prompts, stop, Decoding(max_new_tokens=12, **how), found.__setitem__)
    return [found[i] for i in range(len(prompts))]


def test_sampling_depends_on_seed_and_prompt_not_on_the_batch(generator: Generator) -> None:
    hot = Decoding(max_new_tokens=12, temperature=1.5, seed=1)
    together = texts(answers(generator, decoding=hot))
    generator.batch_size = 3
    assert texts(answers(generator, decoding=hot)) == together
    other = Decoding(max_new_tokens=12, temperature=1.5, seed=2)
    assert texts(answers(generator, decoding=other)) != together
    narrow = Decoding(max_new_tokens=12, temperature=1.5, top_p=1e-6)
    assert texts(answers(generator, decoding=narrow)) == texts(answers(generator))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_the_batch_halves_when_memory_runs_out(
    generator: Generator, error: RuntimeError, caplog: pytest.LogCaptureFixture
) -> None:
    expected = texts(answers(generator))
    sizes = starve(generator, 1, error)
    found = answers(generator)
    assert texts(found) == expected
    assert sizes[0] == 4 and max(sizes[2:]) == 1
    assert {a.batch_size for a in found} == {1}
    assert [r.getMessage() for r in caplog.records if "Out of memory" in r.getMessage()] == [
        "Out of memory with 4 prompts at once; going on with 2.",
        "Out of memory with 2 prompts at once; going on with 1.",
    ]


def starve(generator: Generator, most: int, error: RuntimeError) -> list[int]:
    """Make the model run out of memory with more than `most` rows. Returns the sizes it was
    given."""
    sizes: list[int] = []
    forward = generator.model.forward

    def starved(*args: Any, **kwargs: Any) -> Any:
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > most:
            raise error
        return forward(*args, **kwargs)

    generator.model.forward = starved
    return sizes


def test_answers_made_before_memory_ran_out_are_kept(generator: Generator) -> None:
    expected = answers(generator)
    forward, calls = generator.model.forward, 0
    # The stop token of the first answer to end: its row is done when memory runs out.
    ends = run(
        generator.model,
        [generator.encoder.encode_prompt(p.messages) for p in PROMPTS],
        stop=generator.encoder.stop_ids,
    )
    assert [len(a.ids) for a in ends] == [a.output_tokens for a in expected]

    def late(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*args, **kwargs)

    generator.model.forward = late
    assert texts(answers(generator)) == texts(expected)


def test_no_memory_for_one_prompt_is_the_users_to_mend(generator: Generator) -> None:
    starve(generator, 0, torch.OutOfMemoryError("CUDA out of memory."))
    with pytest.raises(UserError, match=r"not enough memory to answer one prompt.*--max-new-tok"):
        answers(generator)


def test_another_runtime_error_is_a_bug_and_stays_one(generator: Generator) -> None:
    starve(generator, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        answers(generator)
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_a_prompt_beyond_the_models_context_is_refused(generator: Generator) -> None:
    long = Prompt((Message("user", "river " * 3000),))
    with pytest.raises(UserError, match="1 of 2 prompts do not fit this base, which reads 2048"):
        answers(generator, [PROMPTS[0], long])


def test_an_answer_stops_where_the_context_ends(generator: Generator) -> None:
    ids = generator.encoder.encode_prompt(PROMPTS[0].messages)
    found: list[Decoded] = []
    decode(generator.model, [ids], [], SHORT, lambda _, answer: found.append(answer), len(ids) + 3)
    assert (len(found[0].ids), found[0].finish) == (3, "length")


def test_an_adapter_of_another_shape_is_refused(
    generator: Generator, v1: Path, tmp_path: Path
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(v1, tmp_path / "broken")
    tensors = load_file(broken / "adapter_model.safetensors")
    tensors.popitem()
    save_file(tensors, broken / "adapter_model.safetensors")
    with pytest.raises(UserError, match="1 tensors are missing from the file"):
        answers(generator, version=broken)


@pytest.mark.model
def test_the_real_base_answers_in_a_batch_as_alone(base_dir: Path) -> None:
    generator = load_generator(find_base(str(base_dir)), FP32, CPU, batch_size=8)
    together = answers(generator)
    generator.batch_size = 1
    assert texts(answers(generator)) == texts(together)
