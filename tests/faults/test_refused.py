"""Rows 12 to 15 and 21 to 24, and what is unfinished: what a run must not go on from or write to
is refused with what, where and what to do, and nothing on disk changes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chain_support import largest_difference, lineage, make_rows, write_rows
from fault_support import (
    KILLED,
    SETS,
    STEPS,
    Bench,
    Ended,
    copy_of,
    hashes,
    is_finished,
    resumed_from,
)
from safetensors.torch import load_file, save_file
from test_damaged import PICKLES, bomb, of_another_shape, renamed, with_one_more, without_one

from lorachain.checkpoint import SUFFIXES
from lorachain.paths import PROJECT_ROOT
from lorachain.soak.launch import start

pytestmark = pytest.mark.posix

EXACT = ("checkpoint.resume=exact", "checkpoint.save_total_limit=9")
ADAPTER = "adapter_model.safetensors"
LOADED = re.compile(r"^Base .*, on ", re.MULTILINE)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Bench:
    """One place for the module: every test breaks a copy of its own."""
    return Bench.make(tmp_path_factory.mktemp("refused"), tiny_base)


@pytest.fixture(scope="module")
def v1(bench: Bench) -> Path:
    """A finished version 1."""
    ended = bench.run("v1", sets=EXACT)
    assert ended.code == 0, ended.text
    assert LOADED.search(ended.text)  # what a run that is refused in time never says
    return ended.folder


@pytest.fixture(scope="module")
def killed(bench: Bench) -> Path:
    """The same, killed with checkpoint 2 alone."""
    ended = bench.run("killed", sets=EXACT, fault="kill@rename checkpoint#2")
    assert ended.code == KILLED
    for stale in ended.folder.glob(".checkpoint-*"):
        shutil.rmtree(stale)  # test_damaged.py tests what becomes of it
    return ended.folder


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A folder's name for this test alone."""
    return "t" + hashlib.sha256(request.node.name.encode()).hexdigest()[:8]


@pytest.fixture
def parent(v1: Path, name: str) -> Path:
    """A copy of version 1 that a test may break."""
    return copy_of(v1, f"{name}-parent")


def refused(ended: Ended, *messages: str) -> None:
    """Exit code 2 and these messages."""
    assert ended.code == 2, ended.text
    for message in messages:
        assert message in ended.text
    assert "Traceback" not in ended.text


def refused_before_loading(ended: Ended, *messages: str) -> None:
    """The same before any weights, and no folder is left behind."""
    refused(ended, *messages)
    assert not LOADED.search(ended.text)
    assert not ended.folder.exists()


def ask(bench: Bench, model: Path, name: str, *flags: str) -> Ended:
    """Ask a version one question with the tester."""
    questions = bench.folder / "questions.json"
    questions.write_text(json.dumps([{"question": "Say river stone."}]), encoding="utf-8")
    run = start(
        PROJECT_ROOT / "batch_test_model.py",
        [
            *("--model", str(model), "--questions", str(questions), "--max-new-tokens", "4"),
            *("--output", str(bench.folder / f"{name}.json"), "--cpu", *flags),
        ],
        bench.folder / f"{name}.log",
        threads=1,
    )
    code = run.wait()
    return Ended(code, run.text(), bench.folder / f"{name}.json")


def edit_lineage(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = lineage(folder)
    change(data)
    (folder / "lineage.json").write_text(json.dumps(data), encoding="utf-8")


def vouch_for(folder: Path, *names: str) -> None:
    """Let the lineage vouch for files as they are now, as a forger would."""
    found = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names}
    edit_lineage(folder, lambda data: data["files"].update(found))


def rewrite_adapter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = load_file(str(folder / ADAPTER))
    change(content)
    save_file(content, str(folder / ADAPTER), metadata={"format": "pt"})
    vouch_for(folder, ADAPTER)


def edit_json(path: Path, **changed: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changed), encoding="utf-8")


# ---- row 12: another run's checkpoint

TO_GO_ON = "To go on from it, run the same command with:"


def advised(ended: Ended) -> list[str]:
    """The flags that the message says to pass."""
    after = ended.lines[ended.lines.index(TO_GO_ON) + 1 :]
    lines = after[: next(i for i, line in enumerate(after) if not line.startswith("  "))]
    return [word for line in lines if line.startswith("  --") for word in shlex.split(line)]


def other_rows(bench: Bench, name: str) -> Path:
    return write_rows(bench.folder / f"{name}.jsonl", make_rows(16, "delta"))


Change = tuple[list[str], list[str], list[str]]


def learning_rate(bench: Bench) -> Change:
    wrong = ["--set", "training.learning_rate=0.5"]
    lines = [r"training\.learning_rate: was 0\.01, now 0\.5"]
    return wrong, lines, ["--set", "training.learning_rate=0.01"]


def rank(bench: Bench) -> Change:
    return ["--set", "lora.r=8"], [r"lora\.r: was 4, now 8"], ["--set", "lora.r=4"]


def training_rows(bench: Bench) -> Change:
    other, own = other_rows(bench, "other"), bench.folder / "train1.jsonl"
    lines = [rf"training rows: was {own} \([0-9a-f]{{16}}\), now {other} \([0-9a-f]{{16}}\)"]
    return ["--train-data", str(other)], lines, ["--train-data", str(own)]


def several(bench: Bench) -> Change:
    """Rows of both kinds, the evaluation that goes with them, and settings that had no value."""
    other, own = other_rows(bench, "other"), bench.folder / "train1.jsonl"
    validation = bench.folder / "val1.jsonl"
    wrong = ["--train-data", str(other), "--val-data", "none"]
    wrong += ["--set", "training.max_steps=5", "--set", "lora.target_modules=[q_proj,v_proj]"]
    names = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
    quoted = ", ".join(f"'{n}'" for n in names.split(", "))
    lines = [
        rf"lora\.target_modules: was \[{quoted}\], now \['q_proj', 'v_proj'\]",
        r"training rows: was .*train1\.jsonl \([0-9a-f]{16}\), now .*other\.jsonl \(.*\)",
        r"training\.eval_strategy: was epoch, now no",
        r"training\.max_steps: was not set, now 5",
        rf"validation rows: was {validation} \([0-9a-f]{{16}}\), now none \([0-9a-f]{{16}}\)",
    ]
    advice = ["--set", f"lora.target_modules=[{names}]"]
    advice += ["--train-data", str(own), "--set", "training.eval_strategy=epoch"]
    advice += ["--set", "training.max_steps=null", "--val-data", str(validation)]
    return wrong, lines, advice


@pytest.mark.parametrize("change", [learning_rate, rank, training_rows, several])
def test_row_12_what_changed_is_named_and_what_the_message_says_to_pass_goes_on(
    bench: Bench, v1: Path, killed: Path, name: str, change: Callable[[Bench], Change]
) -> None:
    """Field, both values, what to pass; then the same command with that, and with --restart."""
    half = copy_of(killed, name)
    before = hashes(half)
    wrong, lines, advice = change(bench)
    ended = bench.run(name, *wrong, sets=EXACT)
    refused(ended, f"Error: {half / 'checkpoint-2'} belongs to another run:", "pass --restart")
    assert not LOADED.search(ended.text)
    found = [line for line in ended.lines if re.match(r"  [a-z].*: was ", line)]
    assert len(found) == len(lines)
    for line, pattern in zip(found, lines, strict=True):
        assert re.fullmatch(f"  {pattern}", line)
    assert advised(ended) == advice
    assert hashes(half) == before

    other = copy_of(half, f"{name}-restarted")
    again = bench.run(other.name, *wrong, "--restart", sets=EXACT)
    assert again.code == 0, again.text
    assert hashes(other.with_name(f"{other.name}.before-restart-1")) == before
    assert resumed_from(other) is None

    resumed = bench.run(name, *wrong, *advised(ended), sets=EXACT)
    assert resumed.code == 0, resumed.text
    assert resumed_from(half) == 2
    assert largest_difference(half, v1) == 0.0


def test_row_12_rows_that_changed_in_their_file_are_named_and_put_back_it_goes_on(
    bench: Bench, v1: Path, killed: Path, name: str
) -> None:
    half = copy_of(killed, name)
    path = bench.folder / "train1.jsonl"
    then = path.read_bytes()
    before = hashes(half)
    path.write_bytes(then.replace(b"river", b"ocean"))
    try:
        ended = bench.run(name, sets=EXACT)
    finally:
        path.write_bytes(then)
    hashed = r"\([0-9a-f]{16}\)"
    refused(ended, f"  --train-data {path} with the content that it had then")
    assert any(
        re.fullmatch(rf"  training rows: was {path} {hashed}, now {path} {hashed}", line)
        for line in ended.lines
    )
    assert hashes(half) == before
    again = bench.run(name, "--train-data", str(path), sets=EXACT)
    assert again.code == 0, again.text
    assert resumed_from(half) == 2
    assert largest_difference(half, v1) == 0.0


def test_row_12_values_that_a_shell_would_read_more_into_come_back_as_they_were(
    bench: Bench, name: str
) -> None:
    """Lists, a table of options, nothing at all: what the message prints is what to type."""
    odd = (
        "training.lr_scheduler_type=cosine_with_min_lr",
        "training.lr_scheduler_kwargs={min_lr_rate: 0.1}",
        "lora.target_modules=[q_proj, up_proj]",
        "lora.layers_to_transform=[1]",
    )
    killed = bench.run(name, sets=(*EXACT, *odd), fault="kill@rename checkpoint#2")
    assert killed.code == KILLED
    asked = json.loads((killed.folder / "checkpoint-2/MANIFEST.json").read_text(encoding="utf-8"))
    ended = bench.run(name, sets=EXACT)
    refused(ended, TO_GO_ON)
    again = bench.run(name, *advised(ended), sets=EXACT)
    assert again.code == 0, again.text
    assert resumed_from(again.folder) == 2
    assert lineage(again.folder)["identity"] == asked["identity"]


def test_row_12_another_parent_is_named_and_the_old_one_goes_on(
    bench: Bench, v1: Path, name: str
) -> None:
    second = bench.run(f"{name}-other", sets=(*EXACT, "training.seed=7"))
    assert second.code == 0, second.text
    killed = bench.run(name, parent=v1, sets=EXACT, fault="kill@rename checkpoint#2")
    assert killed.code == KILLED
    for stale in killed.folder.glob(".checkpoint-*"):
        shutil.rmtree(stale)
    before = hashes(killed.folder)
    ended = bench.run(name, parent=second.folder, sets=EXACT)
    refused(ended, f"{killed.folder / 'checkpoint-2'} belongs to another run:")
    was, now = (lineage(folder)["files"][ADAPTER] for folder in (v1, second.folder))
    assert f"  parent: was {v1} ({was[:16]}), now {second.folder} ({now[:16]})" in ended.lines
    assert advised(ended) == ["--source-model", str(v1)]
    assert hashes(killed.folder) == before
    restarted = copy_of(killed.folder, f"{name}-restarted")
    fresh = bench.run(restarted.name, "--restart", parent=second.folder, sets=EXACT)
    assert fresh.code == 0, fresh.text
    assert hashes(restarted.with_name(f"{restarted.name}.before-restart-1")) == before
    assert lineage(restarted)["parent"]["adapter_sha256"] == now
    again = bench.run(name, *advised(ended), parent=second.folder, sets=EXACT)
    assert again.code == 0, again.text
    assert resumed_from(again.folder) == 2
    assert lineage(again.folder)["parent"]["adapter_sha256"] == was
    straight = bench.run(f"{name}-straight", parent=v1, sets=EXACT)
    assert largest_difference(again.folder, straight.folder) == 0.0


# ---- row 13: another base


def other_seed(base: Path, folder: Path) -> Path:
    """A base of the same shapes, its weights drawn with another seed."""
    import torch

    shutil.copytree(base, folder)
    content = load_file(str(folder / "model.safetensors"))
    generator = torch.Generator().manual_seed(1)
    drawn = {n: torch.randn(t.shape, generator=generator) * 0.1 for n, t in content.items()}
    save_file(drawn, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def test_row_13_another_base_stops_the_run_before_its_weights_load(
    bench: Bench, v1: Path, tiny_qwen: Path, name: str
) -> None:
    before = hashes(v1)
    same_shape = other_seed(bench.place.base, bench.folder / "other-seed")
    for base, what in ((same_shape, "weights"), (tiny_qwen, "model config, weights")):
        ended = bench.run(name, "--base-model", str(base), parent=v1, sets=EXACT)
        refused_before_loading(
            ended,
            f"v1 was trained on another base: it stands on {bench.place.base} (",
            f"and {base} (",
            f") differs in its {what}. An adapter works on its own base only: pass --base-model "
            f"{bench.place.base}, or leave it out.",
        )
        asked = ask(bench, v1, f"{name}-asked", "--base-model", str(base))
        refused(asked, f"{v1} stands on another base: {bench.place.base}", str(base))
        assert not asked.folder.exists()
    assert hashes(v1) == before


def test_row_13_a_base_that_was_exchanged_in_its_folder_is_noticed(
    bench: Bench, parent: Path, name: str
) -> None:
    """Nothing on the command line names it: the parent's lineage does."""
    exchanged = other_seed(bench.place.base, bench.folder / f"{name}-base")
    edit_lineage(parent, lambda data: data["base"].update(name=str(exchanged)))
    ended = bench.run(name, parent=parent, sets=EXACT)
    refused_before_loading(ended, "differs in its weights")


# ---- rows 14 and 15: another adapter than this base's, or a broken one


@pytest.mark.parametrize("change", [without_one, with_one_more, renamed, of_another_shape])
def test_row_14_keys_that_are_missing_extra_or_of_another_shape_are_listed(
    bench: Bench, parent: Path, name: str, change: Callable[[dict[str, Any]], list[str]]
) -> None:
    listed: list[str] = []
    rewrite_adapter(parent, lambda content: listed.extend(change(content)))
    before = hashes(parent)
    ended = bench.run(name, parent=parent, sets=EXACT)
    refused(ended, f"Error: The adapter {parent}", *listed)
    assert not ended.folder.exists()
    assert hashes(parent) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_row_15_nan_or_infinity_in_a_parent_is_refused(
    bench: Bench, parent: Path, name: str, value: float
) -> None:
    found: list[str] = []

    def spoil(content: dict[str, Any]) -> None:
        found.append(sorted(content)[5])
        content[found[0]][0, 2] = value

    rewrite_adapter(parent, spoil)
    ended = bench.run(name, parent=parent, sets=EXACT)
    refused(ended, f"Error: The adapter {parent} cannot be used:")
    assert f"  1 tensors hold NaN or infinity: {found[0]}" in ended.lines
    assert not ended.folder.exists()
    asked = ask(bench, parent, f"{name}-asked")
    refused(asked, "NaN or infinity", found[0])


# ---- rows 21 and 22: pickles


@pytest.mark.parametrize("vouched", [False, True])
def test_row_21_pickles_in_a_parent_are_named_and_never_opened(
    bench: Bench, parent: Path, name: str, vouched: bool
) -> None:
    canary = bench.folder / f"{name}-canary"
    for planted in PICKLES:
        (parent / planted).write_bytes(bomb(canary))
    if vouched:
        vouch_for(parent, *PICKLES)
    message = (
        f"{parent} holds pickle files, which can run code and are never opened: "
        f"{', '.join(sorted(PICKLES))}."
    )
    refused_before_loading(bench.run(name, parent=parent, sets=EXACT), message)
    refused(ask(bench, parent, f"{name}-asked"), message)
    assert not canary.exists()


def starts_like_a_pickle(path: Path) -> bool:
    """A zip (what torch.save writes), or a pickle of protocol 2 to 5. The length in a
    safetensors' first bytes may look the same: its header tells it apart."""
    start = path.read_bytes()[:9]
    return start[:2] == b"PK" or (
        start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5") and start[8:] != b"{"
    )


def allowed(path: Path, root: Path) -> bool:
    """Whether a file may stand in an output."""
    inside = path.relative_to(root).as_posix()
    return (
        path.suffix in SUFFIXES
        or re.fullmatch(r"logs/events\.out\.tfevents[^/]*", inside) is not None
        or inside in (".lock", "preflight.html")
    )


@pytest.mark.parametrize("generation", [1, 2])
def test_row_22_an_output_holds_the_allowed_suffixes_only_however_often_it_was_killed(
    bench: Bench, v1: Path, name: str, generation: int
) -> None:
    """Also what a kill left half-written is gone once the version is finished."""
    parent = v1 if generation == 2 else None
    for fault in (
        "kill@fsync unfinished.json",
        "kill@fsync training_log.jsonl",
        "kill@fsync checkpoint/MANIFEST.json",
        "kill@fsync checkpoint/adapter_model.safetensors/adapter_config.json#2",
        "kill@rename README.md",
        "kill@fsync lineage.json",
    ):
        ended = bench.run(name, parent=parent, sets=EXACT, fault=fault)
        assert ended.code == KILLED, (fault, ended.text)
    assert len(list(ended.folder.glob(".lineage.json.*.tmp"))) == 1
    ended = bench.run(name, parent=parent, sets=EXACT)
    assert ended.code == 0, ended.text
    assert is_finished(ended.folder) and resumed_from(ended.folder) == STEPS
    files = [path for path in ended.folder.rglob("*") if path.is_file()]
    assert len(files) > 4 * 8
    assert sorted(p.name for p in files if not allowed(p, ended.folder)) == []
    assert sorted(p.name for p in files if starts_like_a_pickle(p)) == []
    assert not [p.name for p in ended.folder.rglob("*") if ".tmp" in p.name]


# ---- row 23: code of its own


def with_code(base: Path, folder: Path, file: str, **setting: Any) -> Path:
    """A copy of a base that asks for code of its own, and the code, which tells when it runs."""
    shutil.copytree(base, folder)
    code = f"from pathlib import Path\nPath({str(folder / 'canary')!r}).touch()\n"
    code += "class Evil:\n    pass\n"
    for module in ("modeling_evil.py", "tokenization_evil.py", "configuration_evil.py"):
        (folder / module).write_text(code, encoding="utf-8")
    edit_json(folder / file, **setting)
    return folder


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        (
            "config.json",
            {
                "AutoConfig": "configuration_evil.Evil",
                "AutoModelForCausalLM": "modeling_evil.Evil",
            },
        ),
        ("tokenizer_config.json", {"AutoTokenizer": ["tokenization_evil.Evil", None]}),
    ],
)
def test_row_23_a_base_with_code_of_its_own_is_refused_and_the_code_never_runs(
    bench: Bench, parent: Path, name: str, file: str, setting: dict[str, Any]
) -> None:
    base = with_code(bench.place.base, bench.folder / f"{name}-base", file, auto_map=setting)
    message = f"{base} wants to run code of its own ({file} has auto_map)"
    refused_before_loading(bench.run(name, "--base-model", str(base), sets=EXACT), message)
    edit_lineage(parent, lambda data: data["base"].update(name=str(base)))
    refused_before_loading(bench.run(name, parent=parent, sets=EXACT), message)
    refused(ask(bench, parent, f"{name}-asked"), message)
    assert not (base / "canary").exists()


def test_row_23_a_model_type_that_only_its_own_code_knows_is_refused(
    bench: Bench, name: str
) -> None:
    """Nothing says auto_map; the code stands beside it all the same."""
    setting = {"model_type": "evil", "architectures": ["Evil"]}
    base = with_code(bench.place.base, bench.folder / f"{name}-base", "config.json", **setting)
    ended = bench.run(name, "--base-model", str(base), sets=EXACT)
    refused(ended, f"{base} cannot be loaded", "evil")
    assert not ended.folder.exists()
    assert not (base / "canary").exists()


@pytest.mark.parametrize("way", ["auto_mapping", "megatron_core"])
def test_row_23_an_adapter_that_names_a_module_of_its_own_is_refused(
    bench: Bench, parent: Path, name: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The module can be imported: it stands on the path of the run."""
    library = bench.folder / f"{name}-library"
    library.mkdir()
    (library / "evil_library.py").write_text(
        f"from pathlib import Path\nPath({str(library / 'canary')!r}).touch()\nEvil = object\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(library))
    setting: dict[str, Any] = {
        "auto_mapping": {
            "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil_library"}
        },
        "megatron_core": {"megatron_config": {"a": 1}, "megatron_core": "evil_library"},
    }[way]
    edit_json(parent / "adapter_config.json", **setting)
    vouch_for(parent, "adapter_config.json")
    ended = bench.run(name, parent=parent, sets=EXACT)
    refused(ended, str(parent), way)
    assert not ended.folder.exists()
    refused(ask(bench, parent, f"{name}-asked"), str(parent), way)
    assert not (library / "canary").exists()


# ---- row 24: paths that lead elsewhere


@pytest.mark.parametrize("way", ["climbing", "absolute", "linked"])
def test_row_24_a_lineage_that_vouches_for_a_file_outside_its_folder_is_refused(
    bench: Bench, parent: Path, name: str, way: str
) -> None:
    outside = bench.folder / f"{name}.json"
    outside.write_text("{}", encoding="utf-8")
    listed = {
        "climbing": f"../{outside.name}",
        "absolute": str(outside),
        "linked": "chat_template.jinja",
    }[way]
    if way == "linked":
        shutil.copyfile(parent / listed, outside)
        (parent / listed).unlink()
        (parent / listed).symlink_to(outside)
    vouch_for(parent, listed)
    before = hashes(parent)
    refused_before_loading(bench.run(name, parent=parent, sets=EXACT), listed)
    assert hashes(parent) == before


@pytest.mark.parametrize("elsewhere", ["../outside.safetensors", "/outside.safetensors"])
def test_row_24_a_base_whose_index_leads_out_of_its_folder_is_refused(
    bench: Bench, name: str, elsewhere: str
) -> None:
    base = bench.folder / f"{name}-base"
    shutil.copytree(bench.place.base, base)
    shutil.move(base / "model.safetensors", bench.folder / "outside.safetensors")
    names = load_file(str(bench.folder / "outside.safetensors"))
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, elsewhere)}
    path = base / "model.safetensors.index.json"
    path.write_text(json.dumps(index), encoding="utf-8")
    ended = bench.run(name, "--base-model", str(base), sets=EXACT)
    refused_before_loading(ended, f"{path} is damaged: it does not name the weights' files.")


def direct(parent: Path) -> Path:
    return parent


def roundabout(parent: Path) -> Path:
    return parent / "logs" / ".." / ".." / parent.name


def linked(parent: Path) -> Path:
    link = parent.with_name(f"{parent.name}-link")
    link.symlink_to(parent, target_is_directory=True)
    return link


def linked_twice(parent: Path) -> Path:
    link = parent.with_name(f"{parent.name}-second")
    link.symlink_to(linked(parent).name, target_is_directory=True)
    return link / "."


@pytest.mark.parametrize("flags", [(), ("--restart",)])
@pytest.mark.parametrize("way", [direct, roundabout, linked, linked_twice])
def test_row_24_an_output_that_is_the_parent_is_refused_and_the_parent_unchanged(
    bench: Bench, parent: Path, way: Callable[[Path], Path], flags: Sequence[str]
) -> None:
    output = way(parent)
    before, beside = hashes(parent), sorted(p.name for p in bench.folder.iterdir())
    ended = bench.run(output, *flags, parent=parent, sets=EXACT)
    refused(ended, "is the parent itself, which is never changed. Choose another --output.")
    assert not LOADED.search(ended.text)
    assert hashes(parent) == before
    new = {p.name for p in bench.folder.iterdir()} - set(beside)
    assert {Path(n).suffix for n in new} == {".log"}  # what the run said, and nothing else


def test_row_24_a_hard_linked_copy_of_the_parent_as_output_changes_nothing_of_it(
    bench: Bench, parent: Path, name: str
) -> None:
    """Refused as the finished version that it is; with --restart moved aside, not written to."""
    output = bench.folder / name
    shutil.copytree(parent, output, copy_function=os.link)
    before = hashes(parent)
    ended = bench.run(name, parent=parent, sets=EXACT)
    refused(ended, f"Error: {output} is a finished version, made with other settings or data:")
    again = bench.run(name, "--restart", parent=parent, sets=EXACT)
    assert again.code == 0, again.text
    assert hashes(bench.folder / f"{name}.before-restart-1") == before
    assert hashes(parent) == before


# ---- nothing half-made looks whole


@pytest.mark.parametrize(
    ("fault", "goes_on_from"),
    [("kill@append training_log.jsonl", None), ("kill@write lineage.json", STEPS)],
    ids=["before its first checkpoint", "before its completion mark"],
)
def test_an_unfinished_version_is_refused_with_the_command_that_finishes_it_and_that_works(
    bench: Bench, v1: Path, name: str, fault: str, goes_on_from: int | None
) -> None:
    """By fine_tune_v2.py as a parent and by the tester; the second time its weights are there."""
    killed = bench.run(name, sets=EXACT, fault=fault)
    assert killed.code == KILLED and not is_finished(killed.folder)
    assert (killed.folder / ADAPTER).is_file() == (goes_on_from is not None)
    mark = json.loads((killed.folder / "unfinished.json").read_text(encoding="utf-8"))
    command = mark["command"]
    before = hashes(killed.folder)
    refusal = (
        f"Error: {killed.folder} is not finished: its training stopped before the end. To finish "
        f"it, run this; it goes on from its last checkpoint:\n  {command}\n"
    )
    child = bench.run(f"{name}-child", parent=killed.folder, sets=EXACT)
    refused_before_loading(child, refusal)
    asked = ask(bench, killed.folder, f"{name}-asked")
    refused(asked, refusal)
    assert not asked.folder.exists()
    assert hashes(killed.folder) == before

    python, script, *arguments = shlex.split(command)
    assert Path(python).name.startswith("python")
    assert "--set" in arguments and SETS[0] in arguments
    run = start(Path(script), arguments, bench.folder / f"{name}.log", threads=1)
    assert run.wait() == 0, run.text()
    assert resumed_from(killed.folder) == goes_on_from
    assert largest_difference(killed.folder, v1) == 0.0
    assert not (killed.folder / "unfinished.json").exists()
    answered = ask(bench, killed.folder, f"{name}-asked")
    assert answered.code == 0, answered.text
    assert answered.folder.is_file()


def test_the_command_that_finishes_a_version_is_printed_from_elsewhere_with_its_folder(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its paths were typed in another folder: the message says in which."""
    start_folder = Path.cwd()
    killed = bench.run(name, sets=EXACT, fault="kill@append training_log.jsonl")
    assert killed.code == KILLED
    monkeypatch.chdir(bench.folder)
    ended = bench.run(f"{name}-child", parent=killed.folder, sets=EXACT)
    refused(ended, f"To finish it, run this in {start_folder}; it goes on from its last checkpoint")
