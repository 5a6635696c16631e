"""Where things are: the project's folders, and how a path that a user typed is read."""

from __future__ import annotations

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CONFIGS = PROJECT_ROOT / "configs"
SCHEMAS = CONFIGS / "schemas"
SUITES = PROJECT_ROOT / "eval" / "suites"
BASES = PROJECT_ROOT / "models" / "base"


def from_project(path: str | Path) -> Path:
    """A default's or a config file's path: relative to the project, so any directory works."""
    return absolute(PROJECT_ROOT, path)


def from_user(path: str | Path) -> Path:
    """A path typed on the command line: relative to where the user stands."""
    return absolute(Path.cwd(), path)


def absolute(start: Path, path: str | Path) -> Path:
    """`path` against `start`, with `~` expanded and `..` folded, links left as they are."""
    with suppress(RuntimeError):  # `~name` of nobody is a name like any other
        path = Path(path).expanduser()
    return Path(os.path.normpath(start / path))


def shown(path: str | Path) -> str:
    """A path as messages show it: relative to the current folder where that is shorter."""
    path = Path(path)
    try:
        relative = path.relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return str(relative)


def quoted(word: str | Path) -> str:
    """A word of a command that a message offers: in quotes where a shell would read more into it,
    a path as `shown`."""
    text = shown(word) if Path(word).is_absolute() else str(word)
    if os.name != "nt" and any(c in text for c in '"$`\\'):
        return shlex.quote(text)
    return f'"{text}"' if not text or any(c in text for c in " &()^!';|<>*?[]{}#~") else text


def runnable(*words: str | Path) -> str:
    """A command that runs one of our scripts from where the user stands. Python is named in full
    unless an environment is active: the bare one may be another, without our packages."""
    python = "python" if os.environ.get("VIRTUAL_ENV") else quoted(sys.executable)
    return " ".join([python, *map(quoted, words)])
