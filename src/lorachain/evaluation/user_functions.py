"""A user's own scorer: `module:function` or `path/to/file.py:function`.

    def polite(answer, item):            # the text, and the item as a dictionary
        return "please" in answer        # true, false, a number from 0 to 1, or None

It runs as any Python of the user's does, with all that Python may do: nothing is fenced in. What
it imports may lie in the current folder, beside the scorers file and beside its own; they are
importable while it is imported and called, and `sys.path` is then as it was.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

from lorachain.evaluation.texts import nearest
from lorachain.paths import absolute, shown
from lorachain.suites import Item

MAX_REASON = 100


@dataclass(frozen=True)
class UserFunction:
    """An imported function. `source_sha256` is over the bytes of its file, "" where it has none."""

    function: Callable[[str, dict[str, Any]], Any]
    folders: tuple[Path, ...]
    source_sha256: str

    def value(self, text: str, item: Item) -> tuple[float | None, str | None]:
        """(value from 0 to 1, None), or (None, why it could not be scored). Raises nothing."""
        try:
            with _importable(self.folders):
                value = self.function(text, as_dict(item))
                if not isinstance(value, Real) and hasattr(value, "item"):
                    value = value.item()  # NumPy's bool, a tensor of one number
        except (Exception, SystemExit) as error:
            return None, _sentence(error)
        if value is None:
            return None, "the function returned None"
        if not isinstance(value, Real):
            return (None, f"the function returned {type(value).__name__}, which is no number")
        number = float(value)
        if math.isnan(number) or not 0 <= number <= 1:
            return None, "the function returned a number that is not from 0 to 1"
        return number, None


def load_function(name: str, folders: Sequence[Path]) -> UserFunction:
    """Import a function by its name. `folders` are where files and modules are looked for.

    Raises ValueError with a sentence for a name that leads nowhere or a file that fails.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute.isidentifier():
        raise ValueError(f"{name!r} is no `module:function` or `path/to/file.py:function`")
    if place.endswith(".py"):
        path = next((p for f in folders if (p := absolute(f, place)).is_file()), None)
        if path is None:
            raise ValueError(f"there is no file {place} in {' or '.join(map(shown, folders))}")
        folders = (*folders, path.parent)
        module = _imported(place, folders, lambda: _run_file(path))
    else:
        module = _imported(place, folders, lambda: importlib.import_module(place))
    function = getattr(module, attribute, None)
    if function is None:
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("__")]
        raise ValueError(f"{place} has no function {attribute}{nearest(attribute, known)}")
    _check_callable(name, function)
    return UserFunction(function, tuple(dict.fromkeys(folders)), _source(module))


def as_dict(item: Item) -> dict[str, Any]:
    """What a function is told of an item: a copy of its own, which it may change."""
    return {
        "id": item.id,
        "messages": [{"role": m.role, "content": m.content} for m in item.messages],
        "question": item.question,
        "task": item.task,
        "topic": item.topic,
        "difficulty": item.difficulty,
        "schema": item.schema,
        "cluster": item.cluster,
        "answer": item.answer,
        "expected": copy.deepcopy(dict(item.expected)),
        "reference": copy.deepcopy(item.reference),
        "checks": copy.deepcopy([dict(check) for check in item.checks]),
    }


@contextmanager
def _importable(folders: Sequence[Path]) -> Iterator[None]:
    """At the end of the list, so that a file of theirs never hides a library of ours."""
    before = list(sys.path)
    sys.path += [str(folder) for folder in folders if str(folder) not in before]
    try:
        yield
    finally:
        sys.path[:] = before


def _imported(place: str, folders: Sequence[Path], load: Callable[[], ModuleType]) -> ModuleType:
    try:
        with _importable(folders):
            importlib.invalidate_caches()
            return load()
    except ModuleNotFoundError as error:
        if error.name != place.split(".")[0]:
            raise ValueError(f"{place} cannot be imported: {_sentence(error)}") from None
        where = " or ".join(map(shown, folders))
        raise ValueError(
            f"there is no module {place} in {where} or among the installed packages"
        ) from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"{place} cannot be imported: {_sentence(error)}") from None


def _run_file(path: Path) -> ModuleType:
    """A file as a module of its own name, read anew: no `__pycache__` beside a user's file, and
    none that is older than the file."""
    source = path.read_bytes()
    name = f"lorachain_scorer_{sha256(source + str(path).encode()).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look there for their own module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_callable(name: str, function: object) -> None:
    if not callable(function):
        raise ValueError(f"{name} is no function but {type(function).__name__}")
    try:
        inspect.signature(function).bind("", {})
    except TypeError:
        raise ValueError(f"{name} must take two arguments: the answer's text, the item") from None
    except ValueError:  # some built-ins have no signature; calling them will tell
        return


def _source(module: ModuleType) -> str:
    path = getattr(module, "__file__", None)
    try:
        return sha256(Path(path).read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def _sentence(error: BaseException) -> str:
    """An error in one short line, so that like ones are counted together."""
    lines = f"{type(error).__name__}: {error}".strip().splitlines()
    text = lines[0].rstrip(": ").encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"
