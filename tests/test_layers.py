"""The arrows of the layout: who may import whom, and what start-up may cost.

Read from the source, not from running modules, so that an import inside a function counts too.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorachain.paths import PROJECT_ROOT

LIBRARY = PROJECT_ROOT / "src" / "lorachain"
SCRIPTS = sorted(
    path
    for folder in ("src/training", "src/data", "src/evaluation", "scripts", ".")
    for path in (PROJECT_ROOT / folder).glob("*.py")
)
LAYER_0 = {"errors", "paths", "faults", "oserrors", "awake", "logcopy"}
LAYER_1 = {
    *("files", "jsonl", "yamlfile", "config", "records", "cli"),
    *("answers", "jsontext", "jsonload", "schemas"),
}
LAYER_2_PACKAGES = {"pages", "preflight"}  # what several packages of layer 3 need
LAYER_4 = {"quickstart", "soak"}  # put packages of layer 3 together, as a script does
STANDARD_LIBRARY_ALONE = ("errors", "paths", "faults", "logcopy", "files", "jsonl", "cli")
HEAVY = {
    *("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors", "tokenizers"),
    *("datasets", "trl", "gguf", "huggingface_hub", "tensorboard", "numpy", "scipy", "pandas"),
    *("matplotlib", "openai", "datasketch"),
}


def module_name(path: Path) -> str:
    """'lorachain.training.sft' for a file of the library; the stem for a script."""
    if not path.is_relative_to(LIBRARY):
        return path.stem
    parts = path.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(LIBRARY.rglob("*.py"))}
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in (*FILES.values(), *SCRIPTS)}
PACKAGES = sorted({name.split(".")[1] for name in FILES if name.count(".") > 1})


def layer(name: str) -> int:
    """The layer of a module of the library. A new module without a place here is of layer 2."""
    parts = name.split(".")
    if len(parts) == 1 or parts[1] in LAYER_0:  # lorachain itself holds a version number
        return 0
    if parts[1] in PACKAGES:
        return 4 if parts[1] in LAYER_4 else 2 if parts[1] in LAYER_2_PACKAGES else 3
    return 1 if parts[1] in LAYER_1 else 2


def at_start(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported."""
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        statement = todo.pop()
        yield statement
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            todo += statement.orelse
            continue
        for field in ("body", "orelse", "finalbody"):
            todo += getattr(statement, field, [])
        for handler in getattr(statement, "handlers", []):
            todo += handler.body


def imports(path: Path, *, start_only: bool = False) -> set[str]:
    """The modules that a file imports; those of the library as the files that they are."""
    nodes = at_start(TREES[path]) if start_only else ast.walk(TREES[path])
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = str(node.module)
            inner = {f"{module}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= inner or {module}
    return found


def ours(names: set[str]) -> set[str]:
    return {name for name in names if name.split(".")[0] == "lorachain"}


def loaded_at_start(path: Path) -> dict[str, list[str]]:
    """Everything that starting a file imports, and by which way."""
    reached: dict[str, list[str]] = {}
    siblings = {p.stem: p for p in path.parent.glob("*.py")} if path in SCRIPTS else {}
    todo = [(path, [path.name])]
    while todo:
        file, way = todo.pop()
        for name in imports(file, start_only=True):
            if name in reached:
                continue
            reached[name] = [*way, name]
            parents = [name.rsplit(".", n)[0] for n in range(name.count(".") + 1)]
            for part in parents:  # importing a.b runs a/__init__.py first
                following = FILES.get(part) or siblings.get(part)
                if following is not None and following in TREES:
                    todo.append((following, reached[name]))
    return reached


def test_there_is_something_to_look_at() -> None:
    assert {"lorachain.errors", "lorachain.chat", "lorachain.training"} <= FILES.keys()
    assert "training" in PACKAGES
    names = {path.name for path in SCRIPTS}
    assert {"fine_tune.py", "fine_tune_v2.py", "batch_test_model.py", "setup_env.py"} <= names
    assert {f"lorachain.{name}" for name in LAYER_0 | LAYER_1} <= FILES.keys()


@pytest.mark.parametrize("name", FILES)
def test_a_layer_imports_only_its_own_and_those_below(name: str) -> None:
    above = {other for other in ours(imports(FILES[name])) if layer(other) > layer(name)}
    assert not above


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_of_one_layer_do_not_import_each_other(package: str) -> None:
    for name, path in FILES.items():
        if name.split(".")[1:2] == [package]:
            others = {
                other
                for other in ours(imports(path))
                if layer(other) == layer(name) and other.split(".")[1] in {*PACKAGES} - {package}
            }
            assert not others, name


def test_no_two_modules_import_each_other_at_start() -> None:
    graph = {name: ours(imports(path, start_only=True)) - {name} for name, path in FILES.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way, name))
        if name in done or name not in graph:
            return
        for other in sorted(graph[name]):
            visit(other, (*way, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_the_library_never_imports_a_script() -> None:
    scripts = {path.stem for path in SCRIPTS}
    for path in FILES.values():
        assert not {name.split(".")[0] for name in imports(path)} & scripts


@pytest.mark.parametrize("name", STANDARD_LIBRARY_ALONE)
def test_the_lowest_modules_use_the_standard_library_alone(name: str) -> None:
    todo, seen = [f"lorachain.{name}"], set()
    while todo:
        module = todo.pop()
        seen.add(module)
        found = imports(FILES[module])
        foreign = {n for n in found - ours(found) if n.split(".")[0] not in sys.stdlib_module_names}
        assert not foreign, module
        todo += ours(found) - seen


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_starts_with_a_heavy_import(script: Path) -> None:
    """`--help` and a bad argument are answered first; what is heavy comes in after them."""
    heavy = [
        " -> ".join(way)
        for name, way in loaded_at_start(script).items()
        if name.split(".")[0] in HEAVY
    ]
    assert not heavy


def test_the_data_pipeline_needs_no_model_library() -> None:
    for name, path in FILES.items():
        if name.startswith("lorachain.datagen"):
            assert not {n.split(".")[0] for n in imports(path)} & {"torch", "transformers"}, name


def test_the_library_prints_nothing() -> None:
    """It returns, raises and logs. `cli` writes the last line of a script that failed."""
    for name, path in FILES.items():
        calls = [
            f"{name}:{node.lineno}"
            for node in ast.walk(TREES[path])
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
        ]
        assert not calls or name == "lorachain.cli", calls


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_a_file_fits_in_a_readers_head(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


@pytest.mark.parametrize("path", TREES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(TREES[path])
