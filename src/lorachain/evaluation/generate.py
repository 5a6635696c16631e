"""One base in memory, versions loaded beside it and switched, prompts answered in batches."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lorachain import adapters, models
from lorachain.chat import ChatEncoder
from lorachain.errors import UserError
from lorachain.evaluation.decode import Decoded, decode
from lorachain.evaluation.generated import Decoding, Generated, Prompt
from lorachain.fast_lora import speed_up_lora
from lorachain.machine import Machine, Precision
from lorachain.paths import shown

log = logging.getLogger("lorachain")


@dataclass
class Generator:
    """A base with any number of versions. Make one with `load_generator`.

    `batch_size` halves itself when memory runs out and stays there.
    """

    model: Any
    encoder: ChatEncoder
    batch_size: int = 8
    _names: dict[Path, str] = field(default_factory=dict, repr=False)

    def load(self, folder: Path) -> None:
        """Load one version beside the base and see that every tensor of it arrived."""
        if folder in self._names:
            return
        from peft import PeftModel

        adapters.adapter_config(folder)
        name = f"version_{len(self._names)}"
        try:
            with warnings.catch_warnings(action="ignore"):  # `check_arrived` says it better
                if self._names:
                    self.model.load_adapter(str(folder), adapter_name=name, local_files_only=True)
                else:
                    self.model = PeftModel.from_pretrained(
                        self.model, str(folder), adapter_name=name, local_files_only=True
                    )
        except (RuntimeError, ValueError, KeyError) as error:
            raise UserError(
                f"The adapter {shown(folder)} does not fit this base: {str(error)[:500]}"
            ) from None
        saved = adapters.read_tensors(folder / adapters.WEIGHTS)
        adapters.check_arrived(self.model, saved, shown(folder), adapter=name)
        self._names[folder] = name
        self.model.requires_grad_(False).eval()
        speed_up_lora(self.model)

    @contextmanager
    def using(self, folder: Path | None) -> Iterator[None]:
        """Answer as this version, or as the base when `folder` is None."""
        if folder is not None:
            self.load(folder)
            self.model.set_adapter(self._names[folder])
            self.model.requires_grad_(False)
        off = self.model.disable_adapter() if folder is None and self._names else nullcontext()
        with off:
            yield

    def answer(
        self,
        prompts: Sequence[Prompt],
        decoding: Decoding,
        on_answer: Callable[[int, Generated], None],
        version: Path | None = None,
    ) -> None:
        """Answer all prompts; `on_answer(index, answer)` is called as each one is finished.

        Raises UserError for prompts longer than the model's context, and when memory is too
        small for one prompt alone.
        """
        encoded = [self.encoder.encode_prompt(prompt.messages) for prompt in prompts]
        self._check_lengths(encoded)
        waiting = _long_to_short(prompts, encoded)
        with self.using(version):
            while waiting:
                batch = waiting[: self.batch_size]
                done = self._try_batch(batch, encoded, decoding, on_answer)
                waiting = [i for i in batch if i not in done] + waiting[len(batch) :]
                if len(done) < len(batch):
                    self._halve(len(batch), max(len(encoded[i]) for i in batch))

    def _try_batch(
        self,
        batch: Sequence[int],
        encoded: Sequence[Sequence[int]],
        decoding: Decoding,
        on_answer: Callable[[int, Generated], None],
    ) -> set[int]:
        """The prompts of the batch that were answered: fewer than all when memory ran out."""
        done: set[int] = set()

        def keep(position: int, answer: Decoded) -> None:
            index = batch[position]
            on_answer(index, self._generated(answer, len(encoded[index]), len(batch)))
            done.add(index)

        try:
            decode(
                self.model,
                [encoded[i] for i in batch],
                self.stop_ids,
                decoding,
                keep,
                self.context,
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
        return done

    def _generated(self, answer: Decoded, prompt_tokens: int, batch_size: int) -> Generated:
        ids = answer.ids[:-1] if answer.finish == "eos" else answer.ids
        text = self.encoder.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return Generated(
            text,
            prompt_tokens,
            len(answer.ids),
            answer.finish,
            round(answer.seconds, 3),
            batch_size,
        )

    def _halve(self, size: int, tokens: int) -> None:
        """Called outside the `except`, so that the failed batch's tensors are gone."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if size == 1:
            raise UserError(
                f"There is not enough memory to answer one prompt ({tokens} tokens). Close other "
                "programs, pass a smaller --max-new-tokens, or load the base in 4 bits "
                "(--quantization 4bit)."
            )
        self.batch_size = size // 2
        log.warning("Out of memory with %d prompts at once; going on with %d.", size, size // 2)

    @property
    def stop_ids(self) -> list[int]:
        """The template's and tokenizer's end tokens, and those that the model itself names."""
        own = getattr(getattr(self.model, "generation_config", None), "eos_token_id", None)
        own = [] if own is None else own if isinstance(own, list) else [own]
        return sorted({*self.encoder.stop_ids, *map(int, own)})

    @property
    def context(self) -> int | None:
        """The longest text that the model was made for, in tokens, where it says so."""
        config = self.model.config
        text = config.get_text_config() if hasattr(config, "get_text_config") else config
        longest = getattr(text, "max_position_embeddings", None)
        return int(longest) if longest else None

    def _check_lengths(self, encoded: Sequence[Sequence[int]]) -> None:
        longest = max(map(len, encoded), default=0)
        if self.context is not None and longest >= self.context:
            count = sum(len(ids) >= self.context for ids in encoded)
            raise UserError(
                f"{count} of {len(encoded)} prompts do not fit this base, which reads "
                f"{self.context} tokens (the longest has {longest}). Shorten or remove them."
            )


def load_generator(
    base: models.Base, precision: Precision, machine: Machine, batch_size: int
) -> Generator:
    """The base in memory, ready to answer."""
    encoder = ChatEncoder(models.load_tokenizer(base))
    try:
        model = models.load_base(base, precision, machine.device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(
            f"There is not enough memory for {base.name} in {precision.dtype}. Close other "
            "programs, load it in 4 bits (--quantization 4bit), or leave the GPU alone (--cpu)."
        ) from None
    return Generator(model, encoder, batch_size)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out, on CUDA or on the CPU (which has no error class of its own)."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _long_to_short(prompts: Sequence[Prompt], encoded: Sequence[Sequence[int]]) -> list[int]:
    """Indices by length, prompt and guessed answer (3 characters a token), the longest first:
    what does not fit in memory shows at once."""
    sizes = [len(ids) + p.expected_characters // 3 for p, ids in zip(prompts, encoded, strict=True)]
    return sorted(range(len(prompts)), key=lambda i: -sizes[i])
