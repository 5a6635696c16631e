"""The form of answer that a request asks for: JSON by a schema, any JSON, or plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from lorachain.answers import Schema
from lorachain.datagen.ask import Ask
from lorachain.datagen.teacher_config import TeacherConfig
from lorachain.errors import UserError
from lorachain.paths import PROJECT_ROOT, SCHEMAS, absolute
from lorachain.schemas import find_schema

Form = Literal["json_schema", "json_object", "text"]


def first_form(config: TeacherConfig, ask: Ask) -> Form:
    """The strongest form that the config allows for a question."""
    wanted = config.request.structured_output
    if ask.schema is None or wanted == "off":
        return "text"
    return "json_object" if wanted == "json_object" else "json_schema"


def weaker(form: Form) -> Form | None:
    """The next form to try where an endpoint refuses one."""
    following: dict[Form, Form] = {"json_schema": "json_object", "json_object": "text"}
    return following.get(form)


def response_format(form: Form, ask: Ask) -> dict[str, Any]:
    """The part of a request's body that asks for a form."""
    if form == "json_object":
        return {"response_format": {"type": "json_object"}}
    if form == "json_schema" and ask.schema is not None:
        named = {"name": ask.schema_name or "answer", "schema": dict(ask.schema)}
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {}


def named_schema(name: str) -> tuple[Schema, dict[str, Any]]:
    """A schema by its name under configs/schemas (or a file's path, relative to the project), and
    the same as one document. Raises UserError as `find_schema` does."""
    schema = find_schema(name, PROJECT_ROOT)
    named = SCHEMAS / f"{name}.schema.json"
    return schema, whole(named if named.is_file() else absolute(PROJECT_ROOT, name))


def whole(path: Path) -> dict[str, Any]:
    """A schema file with the neighbours that it refers to under its `$defs`: endpoints take one
    document, and read no files."""
    definitions: dict[str, Any] = {}
    root: dict[str, Any] = _inlined(_read(path), path.parent, definitions, "")
    for key in ("$schema", "$id"):
        root.pop(key, None)
    if definitions:
        root["$defs"] = {**root.get("$defs", {}), **definitions}
    return root


def _inlined(value: Any, folder: Path, definitions: dict[str, Any], home: str) -> Any:
    """A copy whose references all begin at the root. `home` is where this document stands there."""
    if isinstance(value, list):
        return [_inlined(item, folder, definitions, home) for item in value]
    if not isinstance(value, dict):
        return value
    copied = {key: _inlined(item, folder, definitions, home) for key, item in value.items()}
    reference = value.get("$ref")
    if isinstance(reference, str):
        copied["$ref"] = _reference(reference, folder, definitions, home)
    return copied


def _reference(reference: str, folder: Path, definitions: dict[str, Any], home: str) -> str:
    name, _, fragment = reference.partition("#")
    if not name:
        return f"#{home}{fragment}"
    key = name.removesuffix(".json").removesuffix(".schema").replace(".", "_")
    place = f"/$defs/{key}"
    if key not in definitions:
        definitions[key] = {}  # it may refer to itself
        contents = _inlined(_read(folder / name), folder, definitions, place)
        definitions[key] = {k: v for k, v in contents.items() if k not in ("$schema", "$id")}
    return f"#{place}{fragment}"


def _read(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"The schema {path.name} cannot be read: {error}.") from None
    if not isinstance(contents, dict):
        raise UserError(f"The schema {path.name} must be a JSON object.")
    return contents
