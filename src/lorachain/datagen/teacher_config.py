"""The teacher's settings: configs/teacher.yaml, typed, every problem reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, ValidationError, field_validator

from lorachain import yamlfile
from lorachain.config import Natural, Positive, Section
from lorachain.errors import UserError
from lorachain.paths import CONFIGS, from_project, shown

TEACHER = CONFIGS / "teacher.yaml"
Seconds = Annotated[float, Field(gt=0)]
Dollars = Annotated[float, Field(ge=0)]


class EndpointSection(Section):
    """Where the teacher is. Any server that speaks OpenAI's chat completions."""

    base_url: str = "https://openrouter.ai/api/v1"
    api_key_env: str | None = "OPENROUTER_API_KEY"  # null: the server needs none
    env_file: str = ".env"

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be like https://host/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError("holds a name, a password or a query; the key goes into api_key_env")
        return value.rstrip("/")


class ProviderSection(Section):
    """OpenRouter's routing, sent as it stands. Further keys of theirs pass."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    order: list[str] = Field(default_factory=list)
    allow_fallbacks: bool = False
    data_collection: Literal["deny", "allow"] = "deny"


class RequestSection(Section):
    """What is asked for. All of it is part of a call's key."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.2
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    max_tokens: Positive = 4096
    seed: Natural | None = 42
    structured_output: Literal["auto", "json_schema", "json_object", "off"] = "auto"
    extra: dict[str, Any] = Field(default_factory=dict)  # further keys of the request's body


class LimitsSection(Section):
    """How fast. `rpm` null: no limit of ours."""

    rpm: Annotated[float, Field(gt=0)] | None = 15
    concurrency: Annotated[int, Field(ge=1, le=256)] = 4


class RetriesSection(Section):
    """How often. `per_model` requests that failed, `answers` that were no use, `total` requests."""

    per_model: Positive = 4
    answers: Positive = 2
    total: Positive = 12
    first_wait_s: Dollars = 2.0
    longest_wait_s: Dollars = 120.0
    failed_rows: Positive = 10  # in a row: then something is wrong with more than a row


class TimeoutsSection(Section):
    """How long."""

    connect_s: Seconds = 15.0
    read_s: Seconds = 120.0  # without a byte
    total_s: Seconds = 600.0  # one request, however it trickles


class RuntimeSection(Section):
    """How this run goes. Flags beat it."""

    dry_run: bool = False
    max_usd: Dollars | None = None
    max_calls: Natural | None = None
    store: str = "data/interim/teacher_calls"


class PriceSection(Section):
    """US dollars per million tokens."""

    prompt: Dollars
    completion: Dollars


class TeacherConfig(Section):
    """All of configs/teacher.yaml."""

    endpoint: EndpointSection = EndpointSection()
    models: Annotated[list[str], Field(min_length=1)]
    provider: ProviderSection | None = None
    request: RequestSection = RequestSection()
    limits: LimitsSection = LimitsSection()
    retries: RetriesSection = RetriesSection()
    timeouts: TimeoutsSection = TimeoutsSection()
    runtime: RuntimeSection = RuntimeSection()
    prices: dict[str, PriceSection] = Field(default_factory=dict)

    @field_validator("models")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        if any(not name.strip() for name in value) or len(set(value)) < len(value):
            raise ValueError("names must not be empty or stand there twice")
        return value

    @property
    def env_file(self) -> Path:
        """Where the key may stand."""
        return from_project(self.endpoint.env_file)

    @property
    def store(self) -> Path:
        """Where responses are kept."""
        return from_project(self.runtime.store)

    def provider_policy(self) -> dict[str, Any] | None:
        """The routing that is sent; None for an endpoint that knows none."""
        if self.provider is None:
            return None
        policy = self.provider.model_dump(exclude_none=True)
        return {key: value for key, value in policy.items() if value != []}

    def as_settings(self) -> dict[str, Any]:
        """What decides an answer or its price, for a manifest. No key is in it."""
        dumped = self.model_dump(mode="json")
        kept = ("models", "provider", "request", "prices")
        return {"base_url": self.endpoint.base_url, **{key: dumped[key] for key in kept}}


def read_teacher_config(path: Path, runtime: Mapping[str, Any] | None = None) -> TeacherConfig:
    """Read a teacher's config; `runtime` are flags that beat its section where they are not None.

    Raises one UserError that lists every problem.
    """
    loaded = yamlfile.read(path, "Teacher config")
    if not isinstance(loaded, dict):
        raise UserError(f"Teacher config {shown(path)} must hold sections (endpoint:, models:).")
    given = {key: value for key, value in (runtime or {}).items() if value is not None}
    if given:
        section = loaded.get("runtime") or {}
        loaded = {**loaded, "runtime": {**section, **given} if isinstance(section, dict) else given}
    sections = {key: value for key, value in loaded.items() if value is not None}
    try:
        return TeacherConfig.model_validate(sections)
    except ValidationError as error:
        problems = "\n".join(f"  {text}" for text in _sentences(error))
        raise UserError(f"Teacher config {shown(path)} cannot be used:\n{problems}") from None


def _sentences(error: ValidationError) -> list[str]:
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"is not known{_nearest(str(item['loc'][-1]))}"
        found.append(f"{place}: {message}")
    return list(dict.fromkeys(found))


def _nearest(key: str) -> str:
    known = [*TeacherConfig.model_fields]
    for field in TeacherConfig.model_fields.values():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            known += section.model_fields
    close = difflib.get_close_matches(key, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""
