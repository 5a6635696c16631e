"""Which example goes into which file: the sizes, the splits, and the order of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorachain.sampledata import countries, days, reviews, tasks_v1, tasks_v2, tasks_v3
from lorachain.sampledata.facts import Review, need_all
from lorachain.sampledata.row import Example, compact
from lorachain.sampledata.splits import TEST, TRAIN, VALIDATION, shuffled, split_of, spread

WORDINGS = 10
VALIDATION_ROWS = 8  # a task
TEST_ROWS = 24  # a task
UNSEEN_ROWS = 4  # a task, in the suite of unseen wordings


@dataclass(frozen=True)
class Task:
    """One task: its generation, its share of training and of the fixed 20, how a row is made."""

    name: str
    generation: int
    training_rows: int
    fixed_rows: int
    make: Callable[[Any, int, bool], Example]


TASKS = (
    Task("arrival_checklist", 1, 80, 4, tasks_v1.arrival_checklist),
    Task("airport_procedure", 1, 80, 4, tasks_v1.airport_procedure),
    Task("holiday_itinerary", 2, 80, 3, tasks_v2.holiday_itinerary),
    Task("clock_decision", 2, 80, 3, tasks_v2.clock_decision),
    Task("review_extraction", 3, 160, 3, tasks_v3.review_extraction),
    Task("ficha_pt", 3, 60, 3, tasks_v3.ficha_pt),
)
TRAINING_FILES = {1: "train_llm", 2: "train_finetune2", 3: "train_finetune3"}
VALIDATION_FILES = {1: "val_llm", 2: "val_finetune2", 3: "val_finetune3"}
PROCESSED, SUITES = "data/processed", "eval/suites"


def facts(sources: Path) -> dict[str, list[Any]]:
    """Every fact that a task may ask about, by task. `sources` holds the downloaded archive."""
    need_all()
    sentences = reviews.reviews(sources)
    known = countries.countries()
    airports = countries.airports(known)
    return {
        "arrival_checklist": list(known.values()),
        "airport_procedure": airports,
        "holiday_itinerary": days.holiday_pairs(known),
        "clock_decision": days.clocks(airports),
        "review_extraction": sentences,
        "ficha_pt": airports,
    }


def entity_of(fact: Any) -> str:
    """What decides the split: a country's code, or the review that a sentence is from."""
    if isinstance(fact, Review):
        return fact.review
    country = getattr(fact, "country", None) or getattr(fact, "there", fact)
    return str(getattr(country, "country", country).code)


def in_turn(task: Task, split: str, pool: Iterable[Any]) -> list[Any]:
    """The split's facts in the order of use: every entity once before any twice.

    Reviews take turns by sentiment as well, because most sentences of a review are praise.
    """
    mine = [fact for fact in pool if split_of(entity_of(fact)) == split]
    ordered = spread(mine, [entity_of(fact) for fact in mine], task.name, split)
    if task.name != "review_extraction":
        return ordered
    kinds: dict[str, list[Any]] = {"positivo": [], "negativo": [], "neutro": []}
    for fact in ordered:
        kinds[reviews.sentiment_pt(fact.score)].append(fact)
    return [fact for three in zip(*kinds.values(), strict=False) for fact in three]


def examples(task: Task, ordered: list[Any], first: int, count: int, unseen: bool) -> list[Example]:
    """`count` examples from the `first` fact on; where facts run out, again in other wordings."""
    made = []
    for number in range(first, first + count):
        lap, place = divmod(number, len(ordered))
        made.append(task.make(ordered[place], number + lap, unseen))
    return made


def files(sources: Path) -> dict[str, str]:
    """The text of every file of the sample data, by its path in the project."""
    pools = facts(sources)
    rows: dict[str, list[dict[str, Any]]] = {}
    for task in TASKS:
        train = in_turn(task, TRAIN, pools[task.name])
        validation = in_turn(task, VALIDATION, pools[task.name])
        test = in_turn(task, TEST, pools[task.name])
        training = f"{PROCESSED}/{TRAINING_FILES[task.generation]}.jsonl"
        held_out = f"{PROCESSED}/{VALIDATION_FILES[task.generation]}.jsonl"
        _add(rows, training, examples(task, train, 0, task.training_rows, False))
        _add(rows, held_out, examples(task, validation, 0, VALIDATION_ROWS, False))
        first = 0
        for suite, count in (
            (f"generation{task.generation}_v1", TEST_ROWS),
            ("fixed20_v1", task.fixed_rows),
            ("unseen_wordings_v1", UNSEEN_ROWS),
        ):
            unseen = suite.startswith("unseen")
            path = f"{SUITES}/{suite}.jsonl"
            _add(rows, path, examples(task, test, first, count, unseen), suite=True)
            first += count
    return {path: lines(shuffled(of_file, path)) for path, of_file in sorted(rows.items())}


def _add(
    rows: dict[str, list[dict[str, Any]]], path: str, made: list[Example], suite: bool = False
) -> None:
    of_file = rows.setdefault(path, [])
    for number, example in enumerate(made):
        entities = "_".join(example.entities)
        row_id = f"{Path(path).stem}-{example.task}-{entities}-{number:03d}"
        of_file.append(example.suite_row(row_id) if suite else example.training_row(row_id))


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(compact(row) + "\n" for row in rows)


def write(texts: Mapping[str, str], root: Path) -> None:
    for path, text in texts.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
