"""Base models: from a name to a local folder, a fingerprint, a tokenizer, and loaded weights.

A base is the hub id of an instruct model, a folder, or a built-in name. Only safetensors are
read, code that comes with a model is never run, and after `find_base` everything is local.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lorachain.builtin_base import BUILTIN_BASES, ensure_builtin_base
from lorachain.errors import UserError
from lorachain.files import canonical_json, read_json, sha256_file, sha256_text
from lorachain.headers import Tensor, read_header
from lorachain.machine import Precision, torch_dtype
from lorachain.oserrors import explain, remedy
from lorachain.paths import BASES, from_user, shown

log = logging.getLogger("lorachain")

HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
HUB_IGNORED = ["original/*", "consolidated*", "onnx/*"]
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_VOLATILE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
_SAMPLE_BYTES = 4096
_AGAIN = "Fetch the base again."


@dataclass(frozen=True)
class Fingerprint:
    """What a base is, in four hashes and one over them.

    `weights` covers every tensor's name, type and shape and 12 KiB of its bytes (start, middle,
    end), not every byte: it tells bases apart, it does not prove a file undamaged.
    """

    config: str
    tokenizer: str
    template: str
    weights: str

    @property
    def id(self) -> str:
        """16 hexadecimal digits over all four."""
        return sha256_text(canonical_json(asdict(self)))[:16]

    def as_dict(self) -> dict[str, str]:
        """For lineage and manifests."""
        return asdict(self) | {"id": self.id}


@dataclass(frozen=True)
class Base:
    """A base model on this machine. `name` is what the user calls it."""

    name: str
    folder: Path
    fingerprint: Fingerprint


def find_base(name: str) -> Base:
    """From a hub id, a folder or a built-in name to a checked local folder.

    Raises UserError when it cannot be found or reached, is no plain safetensors model, or brings
    code of its own.
    """
    folder = _locate(name)
    _check_folder(folder, name)
    return Base(name, folder, fingerprint(folder))


def _locate(name: str) -> Path:
    if name in BUILTIN_BASES:
        return ensure_builtin_base(name, BASES)
    path = from_user(name)
    if path.is_dir():
        return path
    if path.exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or name.startswith("."):
        raise _unknown(name)
    return _from_hub(name)


def _unknown(name: str) -> UserError:
    return UserError(
        f"Base model {name!r} is neither a folder, nor a hub id such as "
        f"Qwen/Qwen2.5-1.5B-Instruct, nor a built-in name ({', '.join(BUILTIN_BASES)})."
    )


def _from_hub(name: str) -> Path:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, ignore_patterns=HUB_IGNORED))
    except HFValidationError:
        raise _unknown(name) from None
    except GatedRepoError:
        raise UserError(
            f"{name} is gated: accept its licence on its hub page, then set HF_TOKEN."
        ) from None
    except RepositoryNotFoundError:
        raise UserError(
            f"{name} does not exist on the hub (or is private: set HF_TOKEN). Check the spelling."
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        if isinstance(error, OSError) and (sentence := explain(error)):
            raise UserError(f"{name} could not be fetched. {sentence}") from None
        raise UserError(_not_here(name, error)) from None


def _not_here(name: str, error: Exception) -> str:
    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT).hostname or "the hub"
    why, first = f"{hub} cannot be reached ({type(error).__name__})", "Connect"
    if constants.HF_HUB_OFFLINE:
        why, first = f"{hub} was not asked, because HF_HUB_OFFLINE is set", "Unset it"
    return (
        f"{name} is not on this machine (in {constants.HF_HUB_CACHE}), and {why}. {first} and run "
        "the same command again; or fetch it where there is a network (hf download "
        f"{name} --local-dir FOLDER), copy the folder here and pass it as --base-model; or try the "
        f"built-in base: --base-model {next(iter(BUILTIN_BASES))}."
    )


def _check_folder(folder: Path, name: str) -> None:
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{shown(folder)} is an adapter, not a base model. To go on from it, pass it as "
            "--source-model to fine_tune_v2.py."
        )
    config_path = folder / "config.json"
    if not config_path.exists():
        raise UserError(f"{shown(folder)} is no model folder: it has no config.json.")
    files = _weight_files(folder)
    if not files:
        others = sorted(p.name for p in folder.glob("*.bin")) or ["none"]
        raise UserError(
            f"{name} has no safetensors weights (found: {', '.join(others)}). Pickled weights are "
            "never opened; choose a model that is published as safetensors."
        )
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise UserError(f"{shown(folder)} is not whole: {', '.join(missing)} missing. {_AGAIN}")
    for file in ("config.json", "tokenizer_config.json"):
        if "auto_map" in _settings(folder / file):
            raise UserError(
                f"{name} wants to run code of its own ({file} has auto_map), which lorachain "
                "never does. Choose a model that transformers supports by itself."
            )


def _settings(path: Path) -> dict[str, Any]:
    """A JSON file that holds one object; {} where there is no such file."""
    if not path.exists():
        return {}
    settings = read_json(path, f"The model's {path.name}")
    if not isinstance(settings, dict):
        raise UserError(f"{shown(path)} is damaged: it holds no JSON object. {_AGAIN}")
    return settings


def _weight_files(folder: Path) -> list[Path]:
    """The files that the weights are loaded from, there or not; other safetensors are not read."""
    index = folder / INDEX
    if (folder / WEIGHTS).exists() or not index.exists():
        return [path for path in [folder / WEIGHTS] if path.exists()]
    names = _settings(index).get("weight_map")
    names = set(names.values()) if isinstance(names, dict) else set()
    if not names or any(not isinstance(n, str) or Path(n).name != n for n in names):
        raise UserError(f"{shown(index)} is damaged: it does not name the weights' files. {_AGAIN}")
    return [folder / name for name in sorted(names)]


def fingerprint(folder: Path) -> Fingerprint:
    """The fingerprint of a model folder. Reads headers and samples, so it costs milliseconds."""
    config = _settings(folder / "config.json")
    config = {k: v for k, v in config.items() if k not in _VOLATILE}
    vocabulary = [
        folder / file
        for file in ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt")
        if (folder / file).exists()
    ]
    if (folder / "tokenizer.json").exists():  # then the older files are not read
        vocabulary = vocabulary[:1]
    tokens = _settings(folder / "tokenizer_config.json")
    ends = [_token_text(tokens.get(key)) for key in ("bos_token", "eos_token")]
    return Fingerprint(
        config=sha256_text(canonical_json(config)),
        tokenizer=sha256_text(canonical_json([*map(sha256_file, vocabulary), *ends])),
        template=sha256_text(_template_text(folder)),
        weights=_weights_hash(folder),
    )


def _token_text(token: Any) -> Any:
    """A special token's text: configs hold it bare or as an object, by the release that saved."""
    return token.get("content") if isinstance(token, dict) else token


def _template_text(folder: Path) -> str:
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            return path.read_text(encoding="utf-8").strip()
        except ValueError:
            raise UserError(f"{shown(path)} is damaged: it is not UTF-8. {_AGAIN}") from None
    template = _settings(folder / "tokenizer_config.json").get("chat_template") or ""
    return (template if isinstance(template, str) else canonical_json(template)).strip()


def _weights_hash(folder: Path) -> str:
    """Over all tensors by name, so that another split into files gives the same hash."""
    digests: dict[str, str] = {}
    for path in _weight_files(folder):
        tensors = read_header(path, _AGAIN)
        with path.open("rb") as file:
            for tensor in tensors:
                digest = sha256(f"{tensor.dtype}{[*tensor.shape]}".encode())
                start, end = tensor.start, tensor.end
                for at in sorted({start, (start + end) // 2, max(start, end - _SAMPLE_BYTES)}):
                    file.seek(at)
                    digest.update(file.read(min(_SAMPLE_BYTES, end - at)))
                digests[tensor.name] = digest.hexdigest()
    return sha256_text(canonical_json(digests))


def weight_tensors(folder: Path) -> list[Tensor]:
    """Every tensor of a base's weights, from the headers of its files alone."""
    return [tensor for path in _weight_files(folder) for tensor in read_header(path, _AGAIN)]


def context_length(folder: Path) -> int | None:
    """The longest text that a base was made for, in tokens, where its config says so."""
    config = _settings(folder / "config.json")
    for part in (config, config.get("text_config")):
        if isinstance(part, dict) and isinstance(part.get("max_position_embeddings"), int):
            return int(part["max_position_embeddings"])
    return None


def quiet_libraries() -> None:
    """Keep the libraries' own chatter off the user's terminal; their errors still come."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")
    for name in ("bitsandbytes", "accelerate", "peft"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    import warnings

    warnings.filterwarnings("ignore", category=FutureWarning)


def load_tokenizer(base: Base) -> Any:
    """The base's tokenizer, from its folder, without code of the model's own."""
    quiet_libraries()
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            base.folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises bare Exceptions for a damaged file
        raise UserError(f"The tokenizer of {base.name} cannot be loaded: {error}") from None


def load_base(base: Base, precision: Precision, device: str, attention: str = "auto") -> Any:
    """The base's weights in the chosen precision, on the device, frozen, in eval mode."""
    quiet_libraries()
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": torch_dtype(precision.dtype)}
    if precision.quantization != "none":
        options["quantization_config"] = _bits_and_bytes(precision)
        options["device_map"] = {"": 0 if device == "cuda" else "cpu"}
    options["attn_implementation"] = "sdpa" if attention == "auto" else attention
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            base.folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported below, by name
            output_loading_info=True,
            **options,
        )
    except ValueError as error:
        if attention == "auto" and "attn_implementation" in str(error):
            return load_base(base, precision, device, "eager")
        raise UserError(f"{base.name} cannot be loaded: {error}") from None
    except (OSError, SafetensorError) as error:
        advice = f". {remedy(error)}" if explain(error) else ""
        raise UserError(f"{base.name} cannot be loaded: {error}{advice}") from None
    made_up = sorted({*loading["missing_keys"], *(k for k, *_ in loading["mismatched_keys"])})
    if made_up:
        raise UserError(
            f"{base.name} cannot be loaded: {len(made_up)} of its tensors are missing or have "
            f"another shape than its config says ({', '.join(made_up[:4])}). {_AGAIN}"
        )
    model.requires_grad_(False)
    model.config.use_cache = True
    if precision.quantization == "none":
        model = model.to(device)
    return model.eval()


def _bits_and_bytes(precision: Precision) -> Any:
    from transformers import BitsAndBytesConfig

    if precision.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=precision.quant_type,
        bnb_4bit_use_double_quant=precision.double_quant,
        bnb_4bit_compute_dtype=torch_dtype(precision.compute_dtype),
    )
