"""The API's key: where it comes from, and that it shows itself nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from lorachain.datagen.secret import HIDDEN, Secret, read_secret
from lorachain.errors import UserError

NAME = "TEST_SECRET_VARIABLE"
KEY = "sk-or-v1-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)


def test_the_environment_goes_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".env"
    path.write_text(f'# mine\nOTHER=1\n{NAME}="{KEY}"\n', encoding="utf-8")
    assert read_secret(NAME, path).reveal() == KEY
    monkeypatch.setenv(NAME, " from-the-environment ")
    assert read_secret(NAME, path).reveal() == "from-the-environment"


def test_no_key_is_a_sentence_that_names_both_places(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=NAME) as caught:
        read_secret(NAME, tmp_path / ".env")
    assert ".env" in str(caught.value) and "api_key_env: null" in str(caught.value)


def test_a_server_of_ones_own_needs_none(tmp_path: Path) -> None:
    assert read_secret(None, tmp_path / ".env").reveal() == ""


@pytest.mark.parametrize("bad", ["sk-ein schlüssel", "sk-two words", "sk-\x07bell"])
def test_what_can_be_no_key_is_refused_without_showing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    monkeypatch.setenv(NAME, bad)
    with pytest.raises(UserError) as caught:
        read_secret(NAME, tmp_path / ".env")
    assert bad not in str(caught.value)


def test_it_shows_itself_in_no_text() -> None:
    secret = Secret(KEY)
    assert KEY not in repr(secret) and KEY not in f"{secret}" and KEY not in str([secret])
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    text = secret.hide(f"Incorrect API key provided: {KEY}. Header: Bearer {KEY}, bearer other-key")
    assert KEY not in text and "other-key" not in text and text.count(HIDDEN) == 3


def test_a_word_that_is_no_secret_stays() -> None:
    assert Secret("").hide("plain text") == "plain text"
    assert Secret("none").hide("none of them") == "none of them"
