"""The API's key is in no file, no log and no message, whatever the server does with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from datagen_support import KEY, Workplace
from teacher_server import Asked, Reply, TeacherServer, answer, error

from lorachain import logcopy

ECHO = f"Incorrect API key provided: {KEY} (Authorization: Bearer {KEY})"


def echoing(asked: Asked) -> Reply | None:
    """Sends the key back in answers and in errors of every kind."""
    replies = {
        1: Reply(error(500, ECHO), status=500),
        2: Reply(error(429, ECHO), status=429, headers={"Retry-After": "0"}),
        3: Reply(error(502, ECHO)),
        4: Reply(f"<html>{ECHO}", status=502),
        5: Reply(answer(f"[{ECHO}]")),
        6: Reply(error(400, ECHO), status=400),
    }
    return replies.get(asked.number)


@pytest.mark.parametrize("last", [None, 401, 404, 500])
def test_it_is_nowhere(tmp_path: Path, last: int | None) -> None:
    def script(asked: Asked) -> Reply | None:
        if last and asked.number > 8:
            return Reply(error(last, ECHO), status=last)
        return echoing(asked)

    with TeacherServer(script) as server:
        place = Workplace(tmp_path, server.url)
        place.make_plan(8)
        place.configure(limits={"concurrency": 2})
        log = tmp_path / "run.log"
        environment = {logcopy.VARIABLE: str(log), "OPENAI_LOG": "debug"}
        ran = place.run("generate_drafts", environment=environment)
    assert any(asked.headers["authorization"] == f"Bearer {KEY}" for asked in server.asked)
    assert ran.code == (2 if last else 0), ran.err
    assert log.is_file()
    for text in (ran.out, ran.err):
        assert KEY not in text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name.startswith("calls-") for path in files)
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


def test_a_key_in_a_file_works_and_stays_there(tmp_path: Path) -> None:
    with TeacherServer() as server:
        place = Workplace(tmp_path, server.url)
        place.make_plan(2)
        env_file = tmp_path / ".env"
        env_file.write_text(f"OTHER_KEY={KEY}\n", encoding="utf-8")
        place.configure(endpoint={"api_key_env": "OTHER_KEY", "env_file": str(env_file)})
        ran = place.run("generate_drafts", environment={"TEST_TEACHER_KEY": ""})
    assert ran.code == 0, ran.err
    assert {asked.headers["authorization"] for asked in server.asked} == {f"Bearer {KEY}"}
    holders = [p.name for p in tmp_path.rglob("*") if p.is_file() and KEY in p.read_text("utf-8")]
    assert holders == [".env"]


def test_without_a_key_nothing_begins(tmp_path: Path) -> None:
    with TeacherServer() as server:
        place = Workplace(tmp_path, server.url)
        place.make_plan(2)
        place.configure()
        ran = place.run("generate_drafts", environment={"TEST_TEACHER_KEY": ""})
        assert ran.code == 2 and "TEST_TEACHER_KEY" in ran.err and server.count == 0
        place.configure(endpoint={"api_key_env": None})
        ran = place.run("generate_drafts", environment={"TEST_TEACHER_KEY": ""})
        assert ran.code == 0, ran.err
