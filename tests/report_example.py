"""python tests/report_example.py FOLDER      the report, the vote page, and pictures of both

A made-up chain of four versions on five suites, for tests of the report and for looking at it:
prompts and references of the real suites, answers made from the references by breaking them, and
scored and compared by the real code. Every kind of verdict and of failure is there.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lorachain.answers import compile_schema
from lorachain.evaluation.compare import compare
from lorachain.evaluation.comparison import (
    Broken,
    Cell,
    Comparison,
    Difference,
    Interval,
    Overall,
    SuiteInfo,
    VersionInfo,
)
from lorachain.evaluation.evaluate import Evaluation, Version, VersionResult
from lorachain.evaluation.generated import Finish, Generated
from lorachain.evaluation.report import render_comparison, write_report
from lorachain.evaluation.report_data import AnswerRow, VersionAnswer, answer_rows
from lorachain.evaluation.results import Settings
from lorachain.evaluation.score import Scored, score
from lorachain.evaluation.vote import render_vote
from lorachain.files import sha256_text
from lorachain.models import Base, Fingerprint
from lorachain.paths import PROJECT_ROOT
from lorachain.records import Message
from lorachain.suites import Item, Suite, read_suite

VERSIONS = ("base", "v1", "v2", "v3")
NOW = datetime(2026, 3, 14, 15, 9, tzinfo=UTC)
# The share of items that each version is to get right, and how it fails: weights by kind.
RIGHT = {
    "generation1_v1": (0.0, 0.96, 0.94, 0.55),
    "generation2_v1": (0.02, 0.08, 0.94, 0.90),
    "generation3_v1": (0.0, 0.06, 0.10, 0.92),
    "fixed20_v1": (0.0, 0.35, 0.62, 0.68),
    "general_v1": (0.785, 0.785, 0.78, 0.785),
}
WRAPPED = {"base": 0.12, "v1": 0.12, "v2": 0.12, "v3": 0.12}
FAILS = {
    "base": {"prose": 6, "array": 1, "cut": 3},
    "v1": {"kind": 5, "missing": 3, "cut": 1, "array": 1},
    "v2": {"kind": 4, "missing": 2, "cut": 1, "type": 1},
    "v3": {"kind": 3, "missing": 3, "cut": 3, "type": 1},
}
CAPITALS = (
    *("Quito", "Dakar", "Tirana", "Suva", "Riga", "Lima", "Oslo", "Rabat", "Accra", "Baku"),
    *("Doha", "Hanoi", "Kyiv", "La Paz", "Malé", "Nuuk", "Praia", "Sofia", "Tunis", "Vaduz"),
)


@cache
def evaluation() -> Evaluation:
    """The answers of all versions, scored."""
    suites = [
        *(read_suite(PROJECT_ROOT / f"eval/suites/{name}.jsonl") for name in list(RIGHT)[:4]),
        _general(),
    ]
    suites = [replace(suite, path=suite.path.relative_to(PROJECT_ROOT)) for suite in suites]
    fingerprint = Fingerprint("a" * 64, "b" * 64, "c" * 64, "d" * 64)
    base = Base("smollm2-135m-instruct", Path("models/bases/smollm2"), fingerprint)
    results = []
    for place, name in enumerate(VERSIONS):
        answers = {s.name: tuple(_answers(s, place)) for s in suites}
        sha256 = "base" if name == "base" else sha256_text(name)
        results.append(VersionResult(Version(name, None, sha256), _settings(sha256), answers, 0))
    scoring = {"extractor": "lorachain 0.1.0, tiers 3", "schema envelope": "4be1f0c2a9d35e77"}
    return Evaluation(base, tuple(suites), tuple(results), scoring)


@cache
def comparison() -> Comparison:
    """The same, judged; with losses and a note as a run would have them."""
    found = compare(evaluation(), created=NOW)
    losses = {"v1": 0.412, "v2": 0.367, "v3": 0.331}
    versions = [
        replace(
            version,
            validation_loss={"validation": losses[version.name]} if version.name in losses else {},
            folder=None if version.name == "base" else f"models/fine_tuned_{version.name}",
            facts=_curves(place) if place else {},
        )
        for place, version in enumerate(found.versions)
    ]
    return replace(found, versions=versions)


def rows() -> list[AnswerRow]:
    """What the report lists."""
    return answer_rows(evaluation(), comparison())


ADVICE: Sequence[Mapping[str, Any]] = (
    {
        "title": "v3 forgot generation1_v1: replay more of it",
        "holds": "yes",
        "evidence": [
            "generation1_v1 fell from 94% (v2) to 54% (v3), worse after Holm",
            "replay.share was 0.05 in v3's lineage",
        ],
        "do": "Train v4 from v2 on the same data with a fifth of the rows from earlier "
        "generations, and compare again.",
        "config_yaml": "replay:\n  share: 0.2\ntraining:\n  num_train_epochs: 2\n",
    },
    {
        "title": "Answers are cut by the token limit",
        "holds": "unknown",
        "evidence": ["some of v3's answers were cut, but no reference has its length recorded"],
        "do": "Measure with --max-new-tokens 1024 on fixed20_v1.",
        "config_yaml": None,
    },
    {
        "title": "Training stopped before the loss was flat",
        "holds": "no",
        "evidence": ["validation loss changed by less than 1% over the last fifth of the steps"],
        "do": "",
        "config_yaml": None,
    },
)
FACTS = {
    "base": "smollm2-135m-instruct (13646e7fcc8bbbaa)",
    "versions": "base, v1, v2, v3",
    "questions": "5 suites, 364 items",
    "decoding": "greedy, at most 512 tokens, batch 8, bf16",
}


def page(**changes: Any) -> str:
    """The whole report."""
    given: dict[str, Any] = {"title": "v3 against the chain", "facts": FACTS, "advice": ADVICE}
    return render_comparison(comparison(), rows(), **given | changes)


def many(items: int, characters: int = 900) -> tuple[Comparison, list[AnswerRow]]:
    """A comparison with as many items as are asked for, each answered by every version."""
    known, made = rows(), []
    for i in range(items):
        row = known[i % len(known)]
        answers = {
            name: replace(a, text=(f"{i} {name} " + a.text * 9)[:characters])
            for name, a in row.answers.items()
        }
        item = row.item if i < len(known) else f"{row.item}-{i}"  # the first are those that broke
        made.append(replace(row, item=item, answers=answers))
    return comparison(), made


def hostile(text: str, more: str = "") -> tuple[Comparison, list[AnswerRow]]:
    """A comparison of two versions in which every name, prompt, answer and note holds a text.

    Prompts and answers go on with `more`.
    """
    first, second, suite, metric = (f"{text} {word}" for word in ("one", "two", "suite", "metric"))
    band = Interval(0.2, 0.8)
    versions = [
        VersionInfo(name, text, text, text, text, {text: text, "same": name}, suite, {text: 1.5})
        for name in (first, second)
    ]
    cells = [
        Cell(v, suite, task, metric, 3, 2, 0.5, band, 1)
        for v in (first, second)
        for task in (None, text, "other")
    ]
    difference = Difference(
        *(first, second, suite, None, metric, 3, 2, 1, 1, 1, -0.1, Interval(-0.6, 0.4), text),
        *(0.04, 0.08, text, 0.3, 70, "cannot tell", text),
    )
    answer = VersionAnswer(
        text + more,
        "length",
        7,
        {metric: 0.5},
        [{"path": text, "kind": text}],
        True,
        None,
        {text: text},
    )
    failed = replace(answer, text=f"{text} changed {text}{more}", passed=False, failure=text)
    turns = [("system", text), ("user", text + more)]
    row = AnswerRow(suite, text, text, turns, text + more, {first: answer, second: failed})
    found = Comparison(
        created=text,
        base=text,
        versions=versions,
        suites=[SuiteInfo(suite, text, text, 3, metric, [metric], [text, "other"], 2)],
        cells=cells,
        differences=[difference],
        overall=[Overall(first, second, "cannot tell", text, unclear=[suite])],
        broken=[Broken(suite, text, text, first, second)],
        backward_transfer={second: {suite: -0.1}},
        failures={v: {suite: {text: 3}} for v in (first, second)},
        margin=0.05,
        scoring={text: text},
        notes=[text],
    )
    return found, [row]


def _general() -> Suite:
    schema = compile_schema(
        {
            "type": "object",
            "required": ["answer"],
            "properties": {"answer": {"type": "string"}},
            "additionalProperties": False,
        }
    )
    items = []
    for i in range(200):
        city = CAPITALS[i % len(CAPITALS)]
        asked = f"Which country is {city} the capital of, and what is {i + 3} times {i % 7 + 2}?"
        right = f"{city} is a capital; {(i + 3) * (i % 7 + 2)}"
        items.append(
            Item(
                id=f"general-{i:03}",
                messages=(Message("user", asked),),
                task=("arithmetic", "places")[i % 2],
                schema="general",
                expected={"answer": right},
                reference={"answer": right},
            )
        )
    path = PROJECT_ROOT / "eval/suites/general_v1.jsonl"
    return Suite("general_v1", path, sha256_text("general"), tuple(items), {"general": schema})


def _settings(sha256: str) -> Settings:
    packages = {"torch": "2.13.0", "transformers": "5.14.1", "peft": "0.21.0"}
    decoding = {"max_new_tokens": 512, "temperature": 0.0}
    return Settings(
        model=sha256,
        base="13646e7fcc8bbbaa",
        template="5f0a1c77e2d94b03",
        decoding=decoding,
        dtype="bf16",
        quantization="none",
        device="cuda",
        batch_size=8,
        packages=packages,
    )


def _answers(suite: Suite, place: int) -> list[Scored]:
    name, share = VERSIONS[place], RIGHT[suite.name][place]
    scored = []
    for item in suite.items:
        luck = random.Random(f"{suite.name} {item.id}")  # the same item is hard for every version
        mine = random.Random(f"{suite.name} {item.id} {name}")
        hard = luck.random()
        if suite.name != "general_v1" and mine.random() < 0.4:
            hard = mine.random()
        # Right, and wrapped in prose: strict and lenient differ.
        wrapped = (luck if suite.name == "general_v1" else mine).random() < WRAPPED[name]
        generated = _generated(item, hard < share, wrapped, name, mine)
        scored.append(Scored(item, generated, score(generated.text, item, suite.schemas)))
    return scored


def _generated(item: Item, right: bool, wrapped: bool, name: str, luck: random.Random) -> Generated:
    value = json.loads(json.dumps(item.reference))
    finish: Finish = "eos"
    if right:
        text = json.dumps(value, ensure_ascii=False)
        if wrapped:
            text = f"Here is the answer:\n```json\n{text}\n```"
    else:
        weights = FAILS[name]
        how = luck.choices(list(weights), list(weights.values()))[0]
        text, finish = _BREAK[how](value)
    tokens = 512 if finish == "length" else max(8, len(text) // 4)
    return Generated(text, len(item.question) // 4, tokens, finish, 1.2, 8)


def _other_kind(value: dict[str, Any]) -> tuple[str, Finish]:
    if "payload_type" in value:
        kinds = [k for k in ("checklist", "itinerary", "procedure") if k != value["payload_type"]]
        value["payload_type"] = kinds[0]
        if "assumptions" in value:
            value["assumptions"] = ["The office may be closed on public holidays."]
    else:
        value["answer"] = "I do not know."
    return json.dumps(value, ensure_ascii=False), "eos"


def _missing(value: dict[str, Any]) -> tuple[str, Finish]:
    value.pop("uncertainty_notes", value.pop("answer", None))
    return json.dumps(value, ensure_ascii=False), "eos"


def _wrong_type(value: dict[str, Any]) -> tuple[str, Finish]:
    first = next(iter(value))
    value[first] = [value[first]]
    return json.dumps(value, ensure_ascii=False), "eos"


_BREAK: Mapping[str, Callable[[dict[str, Any]], tuple[str, Finish]]] = {
    "prose": lambda value: (
        f"Sure! I would be happy to help. {value.get('summary') or value.get('answer')} "
        "You should also check the opening hours, and remember to take a map with you.",
        "eos",
    ),
    "array": lambda value: (json.dumps([value], ensure_ascii=False), "eos"),
    "cut": lambda value: (
        json.dumps(value, ensure_ascii=False)[:-9] + ", " + "and so on, " * 30,
        "length",
    ),
    "kind": _other_kind,
    "missing": _missing,
    "type": _wrong_type,
}


def _curves(place: int) -> dict[str, Any]:
    luck = random.Random(place)
    floor = 0.45 - 0.04 * place
    training = [
        [step, floor + (2.6 - 0.5 * place) * math.exp(-step / 26) + luck.gauss(0, 0.03)]
        for step in range(1, 121, 2)
    ]
    validation = [
        [s, floor + 0.03 + (2.2 - 0.5 * place) * math.exp(-s / 26)] for s in range(20, 121, 20)
    ]
    return {"training_curve": training, "validation_curve": validation}


def main(folder: Path) -> None:
    """Write the pages and their pictures."""
    from browser_support import take_picture

    folder.mkdir(parents=True, exist_ok=True)
    report, vote = folder / "report.html", folder / "vote.html"
    write_report(report, page())
    write_report(vote, render_vote(rows(), "v2", "v3", title="v2 and v3, blind"))
    for theme in ("light", "dark"):
        for name, width in (("desk", 1280), ("phone", 390)):
            for file in (report, vote):
                take_picture(file, folder / f"{file.stem}-{name}-{theme}.png", width, theme)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
