"""configs/teacher.yaml: what it says by itself, and every problem at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lorachain.datagen.teacher_config import TEACHER, read_teacher_config
from lorachain.errors import UserError


def written(folder: Path, value: Any) -> Path:
    path = folder / "teacher.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


def test_the_projects_own_keeps_what_is_sent_private_and_knows_every_price() -> None:
    config = read_teacher_config(TEACHER)
    assert config.endpoint.base_url == "https://openrouter.ai/api/v1"
    assert config.provider is not None and config.provider.data_collection == "deny"
    assert (config.request.temperature, config.request.top_p) == (0.2, 0.9)
    assert config.request.max_tokens == 4096 and config.limits.rpm == 15
    assert len(config.models) > 1 and set(config.models) <= set(config.prices)
    assert not config.runtime.dry_run


def test_flags_beat_the_runtime_section(tmp_path: Path) -> None:
    path = written(tmp_path, {"models": ["a"], "runtime": {"max_usd": 1, "max_calls": 5}})
    config = read_teacher_config(path, {"max_usd": 2.5, "max_calls": None})
    assert (config.runtime.max_usd, config.runtime.max_calls) == (2.5, 5)


def test_every_problem_at_once_in_sentences(tmp_path: Path) -> None:
    problems = {
        "models": [],
        "request": {"temprature": 1, "max_tokens": 0},
        "limits": {"rpm": True},
        "endpoint": {"base_url": "https://me:secret-word@host/v1"},
    }
    with pytest.raises(UserError) as caught:
        read_teacher_config(written(tmp_path, problems))
    text = str(caught.value)
    assert "request.temprature: is not known (did you mean temperature?)" in text
    for word in ("models:", "request.max_tokens:", "limits.rpm:", "endpoint.base_url:"):
        assert word in text
    assert "secret-word" not in text


@pytest.mark.parametrize("value", [None, [], "text"])
def test_what_holds_no_sections_is_a_sentence(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match="must hold sections"):
        read_teacher_config(written(tmp_path, value))


def test_further_keys_of_the_provider_pass_and_empty_lists_are_not_sent(tmp_path: Path) -> None:
    provider = {"order": [], "sort": "price", "allow_fallbacks": True}
    config = read_teacher_config(written(tmp_path, {"models": ["a"], "provider": provider}))
    assert config.provider_policy() == {
        "sort": "price",
        "allow_fallbacks": True,
        "data_collection": "deny",
    }


def test_nothing_of_the_key_is_in_the_settings_of_a_manifest(tmp_path: Path) -> None:
    config = read_teacher_config(written(tmp_path, {"models": ["a"]}))
    assert "api_key" not in str(config.as_settings()).lower()
