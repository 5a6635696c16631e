"""Which suites a chain is asked where nobody names any, and which exact questions that needs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from comparison_support import write_suite

from lorachain.errors import UserError
from lorachain.evaluation.chosen import chain_of, find_versions
from lorachain.evaluation.evaluate import Version
from lorachain.evaluation.scorer_file import read_scorers
from lorachain.evaluation.suite_choice import check_scorable, fitting_suites, named_suites


def versions(trained: Path, newest: str) -> list[Version]:
    folders = [one.folder for one in chain_of(trained / newest)]
    return find_versions(folders, with_base=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Suites of two trained tasks, of a strange one, and one whose items name none."""
    for task in ("alpha", "gamma", "strange"):
        write_suite(tmp_path / "suites", task, 3)
    (tmp_path / "suites" / "general_v1.jsonl").write_text('{"prompt": "Why?"}\n', encoding="utf-8")
    return tmp_path / "suites"


def test_suites_of_trained_tasks_and_of_none_fit_and_the_rest_is_named(
    trained: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lorachain"):
        found = fitting_suites(versions(trained, "v3"), folder=folder)
    assert [suite.name for suite in found] == ["alpha_v1", "gamma_v1", "general_v1"]
    assert "alpha_v1, gamma_v1, general_v1." in caplog.text
    assert "Left out: strange_v1" in caplog.text


def test_a_younger_version_is_not_asked_what_comes_after_it(trained: Path, folder: Path) -> None:
    found = fitting_suites(versions(trained, "v1"), limit=2, folder=folder)
    assert [suite.name for suite in found] == ["alpha_v1", "general_v1"]
    assert [len(suite.items) for suite in found] == [2, 1]


def test_without_trained_tasks_every_suite_is_asked_with_a_word(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="lorachain"):
        found = fitting_suites([Version("base")], folder=folder)
    assert len(found) == 4 and "whether these suites fit is not known" in caplog.text


def test_a_file_that_is_named_twice_is_asked_once(folder: Path) -> None:
    path = folder / "alpha_v1.jsonl"
    assert [suite.path for suite in named_suites([path, path])] == [path]


def test_no_suite_at_all_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are none"):
        fitting_suites([Version("base")], folder=tmp_path)


def test_a_chain_is_its_ancestors_the_oldest_first(trained: Path) -> None:
    assert [one.name for one in chain_of(trained / "v3")] == ["v1", "v2", "v3"]
    assert [v.name for v in versions(trained, "v2")] == ["base", "v1", "v2"]


def test_scorers_that_can_score_nothing_are_found_before_anything_is_asked(
    folder: Path, tmp_path: Path
) -> None:
    plain = named_suites([folder / "general_v1.jsonl"])
    for listed in ("schema", "fields", "{kind: text, headline: true}"):
        (tmp_path / "s.yaml").write_text(f"default: [{listed}]", encoding="utf-8")
        with pytest.raises(UserError, match="scorers can score nothing in"):
            check_scorable(plain, read_scorers(tmp_path / "s.yaml"))
