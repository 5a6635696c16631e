"""kill -9 at any moment, --resume, and the files are those of a run that nothing stopped."""

from __future__ import annotations

import random
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from datagen_support import Workplace
from teacher_server import Asked, Reply, TeacherServer

from lorachain import faults

pytestmark = pytest.mark.posix

ROWS = 16
SCRIPTS = ("generate_drafts", "generate_critiques", "generate_dataset")
OUTPUTS = ("drafts_v1.jsonl", "critiques_v1.jsonl", "dataset_v1.journal.jsonl")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], int]:
    """The files of a run that nothing stopped, and how many requests it made."""
    with TeacherServer() as server:
        place = made(tmp_path_factory.mktemp("whole"), server)
        for ran in place.run_all():
            assert ran.code == 0, ran.err
        return place.final_files(), server.count


def made(folder: Path, server: TeacherServer) -> Workplace:
    place = Workplace(folder, server.url)
    place.make_plan(ROWS)
    place.configure(limits={"concurrency": 3})
    return place


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_random_requests(
    tmp_path: Path, whole: tuple[dict[str, bytes], int], seed: int
) -> None:
    """Two kills each, at requests drawn by the seed, before or after the answer has gone out."""
    drawn = random.Random(seed)
    files, requests = whole
    moments = sorted(drawn.sample(range(1, requests - 2), 2))
    running: list[Any] = []
    fallen = threading.Event()

    def script(asked: Asked) -> Reply | None:
        if moments and asked.number >= moments[0]:
            moments.pop(0)
            if drawn.random() < 0.5:
                running[-1].kill()
            else:
                threading.Thread(target=running[-1].kill).start()
            fallen.set()
        return None

    with TeacherServer(script) as server:
        place = made(tmp_path, server)
        kills = 0
        for name in SCRIPTS:
            while True:
                running.append(place.start(name, "--resume"))
                _, err = running[-1].communicate(timeout=60)
                if running[-1].returncode == 0:
                    break
                assert running[-1].returncode == -signal.SIGKILL, err
                kills += 1
        assert kills >= 1 and fallen.is_set()
        assert place.final_files() == files
        lost = server.count - requests
        assert lost <= 3 * kills  # at most what was under way


@pytest.mark.parametrize(
    "fault",
    [
        "kill@append calls-0001.jsonl#5",
        "kill@fsync calls-0001.jsonl#5",
        "tear@fsync calls-0001.jsonl#6",
        "kill@append {output}#5",
        "kill@fsync {output}#5",
        "tear@fsync {output}#6",
        "kill@write {output}#1",
        "kill@fsync {output}#17",
        "kill@rename {output}#1",
        "kill@write {manifest}#1",
        "kill@rename {manifest}#1",
    ],
)
def test_killed_at_each_point_of_writing(
    tmp_path: Path, whole: tuple[dict[str, bytes], int], fault: str
) -> None:
    with TeacherServer() as server:
        place = made(tmp_path, server)
        point = fault.format(output=OUTPUTS[0], manifest=f"{OUTPUTS[0]}.manifest.json")
        ran = place.run(SCRIPTS[0], environment={faults.ACTION: point})
        assert ran.code == -signal.SIGKILL, (ran.code, ran.err)
        ran = place.run(SCRIPTS[0], "--resume")
        assert ran.code == 0, ran.err
        assert place.drafts.read_bytes() == whole[0][place.drafts.name]
        assert sorted(path.name for path in place.interim.iterdir()) == [
            ".lock",
            "drafts_v1.jsonl",
            "drafts_v1.jsonl.manifest.json",
            "prompt_plan_v1.jsonl",
        ]


@pytest.mark.parametrize(
    "point",
    [
        "kill@append dataset_v1.journal.jsonl#7",
        "tear@fsync dataset_v1.journal.jsonl#8",
        "kill@rename dataset_v1.jsonl#1",
        "kill@rename dataset_v1_rejected.jsonl#1",
        "kill@rename dataset_v1_stats.json#1",
    ],
)
def test_killed_while_the_dataset_is_made(
    tmp_path: Path, whole: tuple[dict[str, bytes], int], point: str
) -> None:
    with TeacherServer() as server:
        place = made(tmp_path, server)
        for name in SCRIPTS[:2]:
            assert place.run(name).code == 0
        ran = place.run(SCRIPTS[2], environment={faults.ACTION: point})
        assert ran.code == -signal.SIGKILL, (ran.code, ran.err)
        ran = place.run(SCRIPTS[2], "--resume")
        assert ran.code == 0, ran.err
        assert place.final_files() == whole[0]
        assert server.count <= whole[1] + 3  # at most what was under way is paid for again


def test_a_full_disk_is_a_sentence_and_nothing_is_lost(
    tmp_path: Path, whole: tuple[dict[str, bytes], int]
) -> None:
    with TeacherServer() as server:
        place = made(tmp_path, server)
        fault = {faults.ACTION: "full@append drafts_v1.jsonl#6"}
        ran = place.run(SCRIPTS[0], environment=fault)
        assert ran.code == 2 and "Traceback" not in ran.err and "disk" in ran.err.lower()
        for resumed in place.run_all("--resume"):
            assert resumed.code == 0, resumed.err
        assert place.final_files() == whole[0]
        assert server.count == whole[1]  # even the answer that did not fit was kept
