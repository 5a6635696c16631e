"""An envelope and its payload judged apart: which half of the contract does an answer break?

A schema is such an envelope when its `payload_type` is an enumeration and files
`payload_<type>.schema.json` stand beside it, as under configs/schemas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorachain.answers import Answer, Schema, check_answer, compile_schema, load_schema
from lorachain.paths import SCHEMAS

TYPE, PAYLOAD = "payload_type", "payload"


@dataclass(frozen=True)
class Contract:
    """A schema in its parts. `envelope` is None, and there are no payloads, where it has none."""

    whole: Schema
    required: tuple[str, ...]
    envelope: Schema | None = None
    payloads: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class Kept:
    """How far one answer keeps a contract. `envelope` and `payload` are None without such parts;
    `failures` are {part, path, kind, message}, ordered by path."""

    answer: Answer
    missing: tuple[str, ...]
    whole: bool
    strict: bool
    envelope: bool | None
    payload: bool | None
    failures: tuple[Mapping[str, str], ...]


def read_contract(name: str, schema: Schema) -> Contract:
    """The parts of a schema that an item names (a name under configs/schemas, or a file).

    Raises UserError for a payload's file that is no schema.
    """
    folder = SCHEMAS if re.fullmatch(r"[\w-]+", name) else Path(name).parent
    contents = schema.contents
    required = tuple(contents.get("required", ()))
    kinds = contents.get("properties", {}).get(TYPE, {}).get("enum", ())
    files = {str(kind): folder / f"payload_{kind}.schema.json" for kind in kinds}
    payloads = {kind: load_schema(path) for kind, path in files.items() if path.is_file()}
    if not payloads:
        return Contract(schema, required)
    # What chooses a payload's schema by its type stands in `allOf`; the rest is the envelope.
    envelope = {key: value for key, value in contents.items() if key != "allOf"}
    return Contract(schema, required, compile_schema(envelope), payloads)


def keep(text: str, contract: Contract, *, cut: bool = False) -> Kept:
    """Judge one answer. What cannot be read as a whole object keeps no part of any contract.

    `cut` says that the token limit ended it: then that is why it is unclosed.
    """
    checked = check_answer(text, contract.whole)
    answer = checked.answer
    value: Mapping[str, Any] = answer.value if answer.lenient else {}
    failures = [
        {"part": _part(p.path, contract), "path": p.path, "kind": p.kind, "message": p.message}
        for p in checked.problems
    ]
    if answer.truncated:
        message = "the answer ends inside its object or list"
        kind_of_end = "cut" if cut else "unclosed"
        failures.append({"part": "envelope", "path": "$", "kind": kind_of_end, "message": message})
    kind, envelope = value.get(TYPE), contract.envelope
    payload = contract.payloads.get(kind) if isinstance(kind, str) else None
    return Kept(
        answer=answer,
        missing=tuple(key for key in contract.required if key not in value),
        whole=checked.lenient_valid,
        strict=checked.strict_valid,
        envelope=None if envelope is None else answer.lenient and envelope.accepts(value),
        payload=bool(payload and PAYLOAD in value and payload.accepts(value[PAYLOAD]))
        if contract.payloads
        else None,
        failures=tuple(failures),
    )


def _part(path: str, contract: Contract) -> str:
    """`payload` for what lies in it, else `envelope`: the payload itself counts as its own."""
    inside = re.match(rf"{PAYLOAD}(?![\w-])", path) is not None
    return PAYLOAD if contract.payloads and inside else "envelope"
