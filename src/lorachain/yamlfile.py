"""YAML as people mean it: `1e-5` is a number, and a key that stands twice is an error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml import YAMLError as YAMLError

from lorachain.errors import UserError
from lorachain.paths import shown


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value} stands here twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(  # YAML 1.1 asks for a point and a sign, so PyYAML reads a text
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def read(path: Path, what: str) -> Any:
    """The value of a YAML file. `what` names it in the UserError when it cannot be read."""
    try:
        return _parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{what} not found: {shown(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{what} {shown(path)} cannot be read: {error}") from None
    except YAMLError as error:
        raise UserError(f"{what} {shown(path)} is not valid YAML: {error}") from None


def typed(text: str) -> Any:
    """The value of `key=text` on a command line. Raises YAMLError.

    What reads as a text stays as it was typed: `#` begins no comment in a path.
    """
    value = _parse(text)
    quoted = text.lstrip()[:1] in ("'", '"')
    return text.strip() if isinstance(value, str) and not quoted else value


def _parse(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506 (_Loader is a SafeLoader)
