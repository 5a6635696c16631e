"""docs/data-pipeline.md is true: its commands parse, its files and settings are the pipeline's."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from lorachain.datagen.pipeline.flags import STAGES, add_flags
from lorachain.datagen.pipeline.job import Job
from lorachain.datagen.teacher_config import TeacherConfig
from lorachain.paths import PROJECT_ROOT

DOC = (PROJECT_ROOT / "docs" / "data-pipeline.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOC, flags=re.DOTALL)
COMMANDS = [
    line.split("#")[0].strip()
    for kind, block in BLOCKS
    if kind == "bash"
    for line in block.splitlines()
    if "run_pipeline.py" in line
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_parses(command: str) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    parser.parse_args(shlex.split(command)[2:])


def test_the_table_names_each_stage_with_its_script_and_its_file() -> None:
    rows = re.findall(r"^\| (\w+) \| `(\w+\.py)` \| `([^`]+)`", DOC, flags=re.MULTILINE)
    assert tuple(stage for stage, _, _ in rows) == STAGES
    places = Job().places
    for stage, script, file in rows:
        assert (PROJECT_ROOT / "src" / "data" / script).is_file()
        named = places.main(stage)
        assert (PROJECT_ROOT / file) in (named, named.parent)


def test_the_config_of_a_server_of_your_own_can_be_read() -> None:
    (text,) = (block for kind, block in BLOCKS if kind == "yaml")
    values: dict[str, Any] = yaml.safe_load(text)
    found = TeacherConfig.model_validate(values)
    assert found.provider is None and found.models[0] in found.prices
    assert found.endpoint.api_key_env is None


def test_the_picture_shows_every_stage_and_loads_nothing() -> None:
    path = PROJECT_ROOT / "docs" / "data-pipeline.svg"
    texts = [element.text for element in ElementTree.parse(path).iter() if element.text]
    assert set(STAGES) <= set(texts)
    assert not re.search(r"(href|src|url)=\"?http|@import", path.read_text(encoding="utf-8"))


def test_the_key_has_its_place_and_none_is_shipped() -> None:
    example = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8")
    variable = TeacherConfig(models=["x"]).endpoint.api_key_env
    assert re.findall(r"^(\w+)=(.*)$", example, flags=re.MULTILINE) == [(variable, "")]
    ignored = Path(PROJECT_ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert ".env" in ignored
