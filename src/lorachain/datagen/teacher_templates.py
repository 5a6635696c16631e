"""What the teacher is told: templates under data/specs/templates, and the schema of a critique."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorachain.datagen.rows import PlanRow
from lorachain.datagen.wordings import names_in, render
from lorachain.errors import UserError
from lorachain.files import canonical_json, sha256_text
from lorachain.paths import PROJECT_ROOT, shown

FOLDER = PROJECT_ROOT / "data" / "specs" / "templates"
DRAFT, CRITIQUE, REFINE = "draft_system.j2", "critique.j2", "refine.j2"


@dataclass(frozen=True)
class Template:
    """A template of what the teacher is told."""

    path: Path
    source: str

    @property
    def sha256(self) -> str:
        """The hash of its text."""
        return sha256_text(self.source)

    def fill(self, **values: Any) -> str:
        """The text. Raises UserError for a name that nothing fills."""
        return render(self.source, values, shown(self.path)).strip()


def read_template(name: str, folder: Path = FOLDER) -> Template:
    """Raises UserError where it is missing or no template."""
    path = folder / name
    try:
        source = path.read_text(encoding="utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UserError(f"The template {shown(path)} cannot be read: {why}.") from None
    names_in(source, shown(path))
    return Template(path, source)


def asked_for(plan: PlanRow, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """What every template may say of a plan row. JSON stands there as text; "" for none."""
    return {
        "system": plan.system,
        "prompt": plan.prompt,
        "schema": "" if schema is None else canonical_json(schema),
        "expected": canonical_json(dict(plan.expected)) if plan.expected else "",
    }


def message(role: str, content: str) -> dict[str, str]:
    """A chat message."""
    return {"role": role, "content": content}
