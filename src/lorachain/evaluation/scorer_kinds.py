"""The kinds of scorers: what each looks at in an answer, and what it gives for it.

Each gives a value from 0 (wrong) to 1 (right), or says why it could not score: an item without a
reference, a function that failed. That is never 0, because 0 blames the model. The settings of a
kind, with their defaults, are its fields; `scorer_file` reads them from YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from lorachain.answers import Schema, parse_answer
from lorachain.checks import check_problem
from lorachain.evaluation.metrics import HEADLINES
from lorachain.evaluation.score import Reading
from lorachain.evaluation.texts import normalised, rouge_l
from lorachain.evaluation.user_functions import UserFunction
from lorachain.evaluation.values import NOTHING, at, has, is_near, leaves, number_of, same, spelled
from lorachain.files import canonical_json, sha256_text
from lorachain.suites import Item

SCORERS = 1
"""Raised when a change here or in score.py can change a value: it is part of every identity."""

NO_REFERENCE = "the item has no reference"


class Outcome(NamedTuple):
    """A value from 0 to 1, or None and the reason; `wrong` are the paths that were not right."""

    value: float | None
    reason: str | None = None
    wrong: tuple[str, ...] = ()


class Scorer(BaseModel):
    """What all kinds share. `name` is the column; `headline` makes it the one that decides."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    needs_reference: ClassVar[bool] = True

    kind: str
    name: str = Field(default="", max_length=60)
    headline: bool = False

    @property
    def metric(self) -> str:
        """The name of its values: its own, or one made from what it looks at."""
        return self.name or self._own_name()

    @property
    def label(self) -> str:
        """What a reader calls it."""
        return self.metric

    @property
    def schema_in_place(self) -> Schema | None:
        """The schema that takes the place of the items' own."""
        return None

    @property
    def places(self) -> Sequence[str]:
        """The paths that a reference must have."""
        return ()

    @property
    def identity(self) -> str:
        """16 hexadecimal digits over all that shapes its values."""
        shaping = self.model_dump(exclude={"headline"})
        return sha256_text(canonical_json([SCORERS, shaping, self._beside()]))[:16]

    def outcome(self, reading: Reading, item: Item) -> Outcome:
        """Score one answer. Raises nothing, whatever the text."""
        raise NotImplementedError

    def _own_name(self) -> str:
        return self.kind

    def _beside(self) -> str:
        return ""


class SchemaScorer(Scorer):
    """The item's schema, expected values and checks: the rates of `score.Score`.

    `schema` (a name under configs/schemas, or a file) takes the place of the items' own.
    """

    needs_reference: ClassVar[bool] = False

    kind: Literal["schema"] = "schema"
    named: str | None = Field(default=None, alias="schema")
    _schema: Schema | None = PrivateAttr(default=None)

    @property
    def metric(self) -> str:
        """The first of its headlines. It decides by the best of those that a suite has."""
        return HEADLINES[0]

    @property
    def label(self) -> str:
        return self.kind

    @property
    def schema_in_place(self) -> Schema | None:
        return self._schema

    def use(self, schema: Schema) -> None:
        """Take the schema that `schema` names, once it is found."""
        self._schema = schema

    @model_validator(mode="after")
    def _has_no_name(self) -> SchemaScorer:
        if self.name:
            raise ValueError("`name` cannot be given to kind schema, whose columns have names")
        return self


class FieldsScorer(Scorer):
    """The share of fields that are exactly as in the reference: equal, and of the same type.

    With `all`, every value that the reference or the answer has counts, so that what was invented
    is wrong too. With `whole`, only an answer that is right everywhere gets 1, any other 0.
    """

    kind: Literal["fields"] = "fields"
    paths: tuple[str, ...] | None = None
    whole: bool = False

    @field_validator("paths", mode="before")
    @classmethod
    def _all_or_some(cls, value: Any) -> tuple[str, ...] | None:
        if value == "all" or value is None:
            return None
        if not isinstance(value, list) or not value:
            raise ValueError("must be `all` or a list of paths")
        return tuple(_checked_path(path) for path in value)

    @property
    def places(self) -> Sequence[str]:
        return self.paths or ()

    def _own_name(self) -> str:
        return "reference_fields"

    def outcome(self, reading: Reading, item: Item) -> Outcome:
        if not isinstance(item.reference, dict | list):
            return Outcome(None, NO_REFERENCE)
        for path in self.places:
            if not has(item.reference, path):
                return Outcome(None, f"the reference has nothing at {path}")
        rights = self._rights(reading.value, item.reference)
        wrong = tuple(path for path, right in rights.items() if not right)
        value = float(not wrong) if self.whole else (len(rights) - len(wrong)) / len(rights)
        return Outcome(value, None, wrong)

    def _rights(self, answer: Any, reference: Any) -> dict[str, bool]:
        """Whether each field is right, by its path."""
        if self.paths is not None:
            return {path: same(at(answer, path), at(reference, path)) for path in self.paths}
        found, wanted = leaves(answer), leaves(reference)
        return {
            spelled(way): same(found.get(way, NOTHING), wanted.get(way, NOTHING))
            for way in dict.fromkeys((*wanted, *found))
        }


class NumericScorer(Scorer):
    """1 where a number is as near the reference's as either tolerance allows.

    `relative` is a share of the reference. Without `path` the whole answer is a number.
    """

    kind: Literal["numeric"] = "numeric"
    path: str | None = None
    absolute: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    relative: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _has_a_tolerance(self) -> NumericScorer:
        if self.absolute is None and self.relative is None:
            raise ValueError("needs `absolute` or `relative`, a tolerance (0 for none)")
        if self.path is not None:
            _checked_path(self.path)
        return self

    @property
    def places(self) -> Sequence[str]:
        return (self.path,) if self.path else ()

    def _own_name(self) -> str:
        return self.path or "number"

    def outcome(self, reading: Reading, item: Item) -> Outcome:
        reference = reference_of(item)
        if reference is None:
            return Outcome(None, NO_REFERENCE)
        wanted = number_of(at(reference, self.path))
        if wanted is None and self.path is None and isinstance(reference, str):
            wanted = number_of(parse_answer(reference).value)  # `answer: "42"` in a questions file
        if wanted is None:
            return Outcome(None, f"the reference has no finite number{_where(self.path)}")
        found = number_of(at(reading.value, self.path))
        tolerances = self.absolute or 0.0, self.relative or 0.0
        right = found is not None and is_near(found, wanted, *tolerances)
        return Outcome(float(right), None, () if right else (self.path or "$",))


class TextScorer(Scorer):
    """A text against the reference's: `match` for all of it, `rouge_l` for how much is there.

    Without `path` it is the whole answer. Where the reference is a list of texts, the best counts.
    """

    kind: Literal["text"] = "text"
    path: str | None = None
    measure: Literal["match", "rouge_l"] = "match"
    ignore_case: bool = True
    ignore_punctuation: bool = False

    @model_validator(mode="after")
    def _has_a_good_path(self) -> TextScorer:
        if self.path is not None:
            _checked_path(self.path)
        return self

    @property
    def places(self) -> Sequence[str]:
        return (self.path,) if self.path else ()

    def _own_name(self) -> str:
        return self.path or ("text" if self.measure == "match" else self.measure)

    def outcome(self, reading: Reading, item: Item) -> Outcome:
        reference = reference_of(item)
        if reference is None:
            return Outcome(None, NO_REFERENCE)
        wanted = at(reference, self.path)
        texts = wanted if isinstance(wanted, list) and wanted else [wanted]
        if not all(isinstance(text, str) for text in texts):
            return Outcome(None, f"the reference has no text{_where(self.path)}")
        found = at(reading.value, self.path) if self.path else reading.text
        answer = found if isinstance(found, str) else ""  # a number, or nothing, is no text
        known = [v for v in (self._likeness(answer, text) for text in texts) if v is not None]
        if not known:
            return Outcome(None, f"the reference has no words{_where(self.path)}")
        value = max(known) if isinstance(found, str) else 0.0
        return Outcome(value, None, () if value == 1 else (self.path or "$",))

    def _likeness(self, found: str, wanted: str) -> float | None:
        options = {"case": self.ignore_case, "punctuation": self.ignore_punctuation}
        found, wanted = normalised(found, **options), normalised(wanted, **options)
        return float(found == wanted) if self.measure == "match" else rouge_l(found, wanted)


class FunctionScorer(Scorer):
    """A function of the user's own; `user_functions` says how it is called."""

    needs_reference: ClassVar[bool] = False

    kind: Literal["function"] = "function"
    function: str
    _loaded: UserFunction | None = PrivateAttr(default=None)

    def use(self, loaded: UserFunction) -> None:
        """Take the function that `function` names, once it is imported."""
        self._loaded = loaded

    def outcome(self, reading: Reading, item: Item) -> Outcome:
        assert self._loaded is not None, "read_scorers imports it"
        return Outcome(*self._loaded.value(reading.text, item))

    def _own_name(self) -> str:
        return self.function.rpartition(":")[2]

    def _beside(self) -> str:
        return "" if self._loaded is None else self._loaded.source_sha256


KINDS: Mapping[str, type[Scorer]] = {
    "schema": SchemaScorer,
    "fields": FieldsScorer,
    "numeric": NumericScorer,
    "text": TextScorer,
    "function": FunctionScorer,
}


def reference_of(item: Item) -> Any:
    """What an item knows of a right answer: its reference, or a question's `answer`."""
    return item.answer if item.reference is None else item.reference


def _where(path: str | None) -> str:
    return f" at {path}" if path else ""


def _checked_path(path: Any) -> str:
    if problem := check_problem({"path": path, "value": 0}):
        raise ValueError(problem.replace("`path` ", ""))
    return str(path)
