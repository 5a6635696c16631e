"""Turn a GGUF file of the SmolLM2 family into a plain safetensors model folder.

Three things differ from what transformers alone makes of the file:

1. Digits are split one by one before the byte-level split. The file names this rule only
   ("smollm", as in llama.cpp); transformers drops it, and then a digit after two spaces or a line
   break is tokenised in a way that the model never saw in its training.
2. Padding is another token than the one that ends a turn. SmolLM2's file says `<|im_end|>` for
   both: a trainer that masks padding would mask every end of turn, and the model never stop.
3. Weights are stored in bfloat16, the type of the original model: half the size of float32, and
   far finer than the 4 bits that they come from (mean KL divergence of the next-token
   distributions under 1e-4). Every machine makes the same bytes of them.
"""

from __future__ import annotations

import gc
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from lorachain.files import write_json

_SUFFIXES = {".safetensors", ".json", ".jinja"}


def import_gguf(gguf: Path, folder: Path, *, end_token: str, pad_token: str) -> None:
    """Save a GGUF file as safetensors, config, tokenizer and chat template in `folder`.

    The folder is then loaded as everybody will load it, and compared with what was in memory.
    """
    import transformers

    with _quiet():
        dense = getattr(transformers, "GgufConfig", None)  # older releases always dequantise
        options = {"quantization_config": dense(dequantize=True)} if dense else {}
        model, loading = transformers.AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype="float32",
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
        if any(loading.values()):
            raise RuntimeError(f"{gguf.name}: not every tensor arrived: {loading}")
        tokenizer = _tokenizer(gguf, end_token, pad_token)
        tokenizer.model_max_length = model.config.max_position_embeddings
        state = _save_model(model, folder, tokenizer)
        _save_tokenizer(tokenizer, folder)
        del model
        _check(folder, state, tokenizer, end_token)
        del state
    gc.collect()  # closes the mapped files: Windows moves no folder with an open file in it


def _tokenizer(gguf: Path, end_token: str, pad_token: str) -> Any:
    """The GGUF's vocabulary, merges and special tokens in a byte-level BPE that is stated whole.

    Releases of transformers differ in the rest (decoder, byte fallback, even the end token), so
    nothing of it is left to them.
    """
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    read = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    parts = json.loads(read.backend_tokenizer.to_str())
    vocabulary = parts["model"]["vocab"]
    merges = [tuple(merge) for merge in parts["model"]["merges"]]
    affixes = {"continuing_subword_prefix": "", "end_of_word_suffix": ""}  # as GPT-2 spells none
    backend = Tokenizer(BPE(vocab=vocabulary, merges=merges, **affixes))
    backend.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([token["content"] for token in parts["added_tokens"]])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=read.bos_token,
        eos_token=end_token,
        pad_token=pad_token,
        unk_token=read.unk_token,
    )
    tokenizer.chat_template = read.chat_template
    return tokenizer


def _save_model(model: Any, folder: Path, tokenizer: Any) -> dict[str, Any]:
    """Write config and weights; return the weights as they should be found again."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokens = {f"{t}_token_id": getattr(tokenizer, f"{t}_token_id") for t in ("bos", "eos", "pad")}
    config = model.config
    config.__dict__.pop("_model_name_or_path", None)  # the GGUF's title
    config.__dict__.pop("quantization_config", None)
    config.rms_norm_eps = float(f"{config.rms_norm_eps:.6g}")  # 1e-5, which GGUF keeps as float32
    for key, value in tokens.items():
        setattr(config, key, value)
    state = {key: value.to(torch.bfloat16) for key, value in model.state_dict().items()}
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(state)
    plain.generation_config = GenerationConfig(**tokens)
    plain.save_pretrained(folder)
    # safetensors makes its file for the owner alone; other users of this machine may read bases.
    shutil.copymode(folder / "config.json", folder / "model.safetensors")
    return state


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    for key in ("backend", "is_local", "local_files_only"):  # how it was loaded, not what it is
        settings.pop(key, None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that every release knows
    write_json(path, settings)


def _check(folder: Path, state: Mapping[str, Any], made: Any, end_token: str) -> None:
    """Load the folder and compare. A difference here is a bug of ours, not a user's mistake."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype="auto"
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    again = model.state_dict()
    text = "In 1755\n\n  12 of 3.5 <|im_start|> é 日本"
    chat = [{"role": "user", "content": "1 + 1?"}]
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    held = {
        "files": {path.suffix for path in folder.iterdir()} <= _SUFFIXES,
        "weights": again.keys() == state.keys()
        and all(torch.equal(again[k], v) and bool(v.isfinite().all()) for k, v in state.items()),
        "plain config": getattr(model.config, "quantization_config", None) is None,
        "end token": tokenizer.eos_token == end_token
        and model.generation_config.eos_token_id == model.config.eos_token_id == end,
        "pad token": pad not in (None, end)
        and model.generation_config.pad_token_id == model.config.pad_token_id == pad,
        "vocabulary": len(tokenizer) == model.config.vocab_size,
        "tokens": tokenizer(text)["input_ids"] == made(text)["input_ids"]
        and tokenizer.decode(tokenizer(text)["input_ids"]) == text,
        "template": tokenizer.apply_chat_template(chat, tokenize=False)
        == made.apply_chat_template(chat, tokenize=False),
    }
    if not all(held.values()):
        broken = ", ".join(key for key, value in held.items() if not value)
        raise RuntimeError(f"{folder} did not survive being saved: {broken}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars: each stands for two seconds or less here.

    The GGUF reader's own bar knows no switch, hence the redirection; log lines still arrive.
    """
    from transformers.utils import logging as noise

    shown_before = noise.is_progress_bar_enabled()
    noise.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        if shown_before:
            noise.enable_progress_bar()
