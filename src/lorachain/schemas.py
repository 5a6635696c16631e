"""JSON schemas (draft 2020-12) from files or mappings, and every way in which a value fails one.

Import these names from `lorachain.answers`. A schema may refer to other files of its own folder;
nothing is ever fetched from a network, and a reference that leads nowhere is an error when the
schema is loaded, not when the first answer is scored. `format` is an annotation, as the draft has
it by default: it is not checked.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text
from lorachain.paths import SCHEMAS, absolute

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_BASE = "file:///schemas/"  # only resolves references among neighbours; nothing is read from it
_CLIP = 60

# jsonschema, like the draft, takes 1.0 as an integer. Here an integer has no decimal part at all.
_Exact: type[Validator] = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


@dataclass(frozen=True, slots=True, order=True)
class SchemaProblem:
    """One way in which a value fails its schema.

    `path` is like `payload.groups[0].items[2].priority`, and `$` for the value itself; `kind` is
    the schema keyword that failed; `message` is short and never holds a whole value.
    """

    path: str
    kind: str
    message: str


class Schema:
    """A checked and compiled schema. Make one with `load_schema` or `compile_schema`."""

    def __init__(self, name: str, contents: Mapping[str, Any], registry: Registry[Any], uri: str):
        self.name = name
        self.contents = contents
        entry = {"$ref": uri}
        self._validator: Validator = Draft202012Validator(entry, registry=registry)
        self._exact: Validator = _Exact(entry, registry=registry)
        self._registry = registry

    def __repr__(self) -> str:
        return f"Schema({self.name!r})"

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over the schema and every file that it refers to."""
        documents = {uri: self._registry.contents(uri) for uri in self._registry}
        return sha256_text(canonical_json(documents))[:16]

    def problems(self, value: Any) -> list[SchemaProblem]:
        """Every problem of a value, each once, ordered by path (array items by number)."""
        try:
            errors = list(self._validator.iter_errors(value))
        except RecursionError:
            return [SchemaProblem("$", "recursion", "nested too deeply to be checked")]
        keyed = {
            (tuple((isinstance(part, str), part) for part in error.absolute_path), _problem(error))
            for error in errors
        }
        return [problem for _, problem in sorted(keyed)]

    def accepts(self, value: Any, *, exact_integers: bool = False) -> bool:
        """Whether a value is valid; with `exact_integers`, 1.0 is no integer."""
        try:
            return bool((self._exact if exact_integers else self._validator).is_valid(value))
        except RecursionError:
            return False


def validate(value: Any, schema: Schema | Mapping[str, Any]) -> list[SchemaProblem]:
    """Every way in which a value fails a schema (draft 2020-12); an empty list if it is valid.

    Raises UserError if the schema itself is bad.
    """
    return compile_schema(schema).problems(value)


def load_schema(path: str | Path) -> Schema:
    """Read a schema file, and the files of its folder that it refers to, and compile it.

    Raises UserError, naming the file and the problem, for a file that cannot be read, is no JSON,
    is no valid draft 2020-12 schema, or refers to something that is not there or lies elsewhere.
    """
    path = Path(path)
    return _compile(_read(path), path.name, path)


def find_schema(name: str, folder: Path) -> Schema:
    """A schema by its name under configs/schemas, or by a file's path, relative to `folder`.

    Raises UserError for a name that is not known and for whatever `load_schema` refuses.
    """
    if not re.fullmatch(r"[\w-]+", name):
        return load_schema(absolute(folder, name))
    path = SCHEMAS / f"{name}.schema.json"
    if not path.is_file():
        known = sorted(p.name.removesuffix(".schema.json") for p in SCHEMAS.glob("*.json"))
        raise UserError(f"schema {name!r} is not known; known are {', '.join(known)}.")
    return load_schema(path)


def compile_schema(schema: Schema | Mapping[str, Any]) -> Schema:
    """Compile a schema given as a mapping; the same one is compiled once. A Schema is returned.

    Raises UserError for a schema that is bad or that refers to anything outside itself.
    """
    return schema if isinstance(schema, Schema) else _compile_text(json.dumps(schema))


@functools.lru_cache(maxsize=64)
def _compile_text(text: str) -> Schema:
    return _compile(json.loads(text), "schema", None)


def _compile(contents: dict[str, Any], name: str, path: Path | None) -> Schema:
    """Load what the schema refers to, file by file, then see that every reference resolves."""
    uri = urljoin(_BASE, str(contents.get("$id", name)))
    registry: Registry[Any] = Registry()
    references: list[tuple[Path | str, str, str]] = []
    waiting: list[tuple[str, dict[str, Any], Path | str]] = [(uri, contents, path or name)]
    while waiting:
        here, document, shown = waiting.pop()
        if here in registry:
            continue
        body = _checked(document, shown)
        resource = DRAFT202012.create_resource(body)
        registry = registry.with_resource(here, resource).crawl()
        for base, reference in _references(body, here):
            references.append((shown, base, reference))
            target = urldefrag(urljoin(base, reference)).url
            if target in registry:
                continue
            if path is None:
                raise UserError(f"{shown}: $ref {reference!r} leads outside the schema.")
            file = _neighbour(target, uri, path, shown, reference)
            waiting.append((target, _read(file), file))
    for shown, base, reference in references:
        try:
            registry.resolver(base).lookup(reference)
        except Unresolvable:
            raise UserError(f"{shown}: $ref {reference!r} leads to nothing. Mend it.") from None
    return Schema(name, contents, registry, uri)


def _references(contents: Any, base: str) -> Iterator[tuple[str, str]]:
    """Every `$ref` and `$dynamicRef` of a schema with the URI that it is relative to."""
    if not isinstance(contents, Mapping):
        return
    base = urljoin(base, str(contents.get("$id", "")))
    for keyword in ("$ref", "$dynamicRef"):
        if keyword in contents:
            yield base, str(contents[keyword])
    for part in DRAFT202012.subresources_of(contents):
        yield from _references(part, base)


def _neighbour(target: str, root: str, path: Path, shown: Path | str, reference: str) -> Path:
    """The file of the schema's folder that a URI names. Nothing else is ever opened."""
    folder = urljoin(root, ".")
    name = unquote(target.removeprefix(folder))
    file = path.parent / name
    if target.startswith(folder) and not re.search(r"[/\\:]", name) and file.is_file():
        return file
    raise UserError(
        f"{shown}: $ref {reference!r} names no file in {path.parent}. Schemas refer only to files "
        "beside them; put the file there or mend the reference."
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the schema: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: the schema is not JSON: {error}.") from error
    if not isinstance(contents, dict):
        raise UserError(f"{path}: a schema must be a JSON object, not {_kind_of(contents)}.")
    return contents


def _checked(contents: dict[str, Any], shown: Path | str) -> dict[str, Any]:
    """The schema without its `$schema`, once it is known to be a valid one of our draft.

    With `$schema` left in, jsonschema would go back to the stock validator behind each `$ref`.
    """
    draft = contents.get("$schema", DRAFT)
    if not isinstance(draft, str) or draft.rstrip("#") != DRAFT:
        raise UserError(f"{shown}: $schema is {_brief(draft)}; only {DRAFT} is supported.")
    try:
        Draft202012Validator.check_schema(contents)
    except jsonschema.SchemaError as error:
        raise UserError(
            f"{shown}: not a valid schema: at {_path(error.absolute_path)}: {_message(error)}."
        ) from error
    except RecursionError as error:
        raise UserError(f"{shown}: the schema is nested too deeply.") from error
    return {key: value for key, value in contents.items() if key != "$schema"}


def _problem(error: jsonschema.ValidationError) -> SchemaProblem:
    return SchemaProblem(
        _path(error.absolute_path), str(error.validator or "false"), _message(error)
    )


def _path(parts: Iterable[str | int]) -> str:
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[^\W\d]\w*", part):
            path += f".{part}" if path else part
        else:
            path += f"[{_brief(part)}]"
    return path or "$"


def _message(error: jsonschema.ValidationError | jsonschema.SchemaError) -> str:
    """Our own words: jsonschema's begin with a dump of the whole value."""
    keyword: Any = error.validator
    wanted: Any = error.validator_value
    value: Any = error.instance
    match keyword:
        case "type":
            names = [wanted] if isinstance(wanted, str) else wanted
            return f"expected {' or '.join(names)}, got {_kind_of(value)}"
        case "required":
            missing = error.message.removesuffix(" is a required property")
            return f"missing key {_clip(missing)}"
        case "additionalProperties":
            return f"unexpected {_listed(_extra_keys(error), 'key')}"
        case "enum":
            return f"{_brief(value)} is none of {_listed(wanted, 'value')}"
        case "const":
            return f"{_brief(value)} is not {_brief(wanted)}"
        case "anyOf" | "oneOf" if error.context:
            return f"{_brief(value)} fits none of the {len(wanted)} alternatives"
        case "oneOf":
            return f"{_brief(value)} fits more than one of the {len(wanted)} alternatives"
        case "dependentRequired" | "unevaluatedProperties" | "unevaluatedItems":
            return _clip(error.message, 2 * _CLIP)
        case None:
            return "nothing is allowed here"
        case _:
            limit = f" {_brief(wanted)}" if isinstance(wanted, str | int | float) else ""
            return f"{_brief(value)} fails {keyword}{limit}"


def _extra_keys(error: jsonschema.ValidationError | jsonschema.SchemaError) -> list[str]:
    schema: Any = error.schema
    keys: Any = error.instance
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [
        key
        for key in keys
        if key not in known and not any(re.search(pattern, key) for pattern in patterns)
    ]


def _listed(values: list[Any], noun: str) -> str:
    shown = ", ".join(_brief(value) for value in values[:5])
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return f"{noun}{'s' if len(values) > 1 else ''} {shown}{more}"


def _kind_of(value: Any) -> str:
    """JSON's name for the type of a value."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, float) and value.is_integer():
        return "integer"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)


def _brief(value: Any) -> str:
    if isinstance(value, dict | list):
        return f"{_kind_of(value)} of {len(value)}"
    return _clip(json.dumps(value[:_CLIP] if isinstance(value, str) else value, ensure_ascii=False))


def _clip(text: str, limit: int = _CLIP) -> str:
    # A lone surrogate would make the message impossible to print or to write.
    text = text[: limit + 1].encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= limit else text[: limit - 3] + "..."
