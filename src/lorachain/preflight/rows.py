"""The rules on rows: here those on one file (no answer, repeated, contradicting), leaks beside.

Within a file two prompts are the same when they are so in one spelling (NFKC, case, white space),
the system prompt included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from lorachain.paths import shown
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.inputs import Rows
from lorachain.preflight.leaks import against_ancestor, leaks
from lorachain.preflight.table import MOST_COMPARED, Entry, Table
from lorachain.preflight.texts import answers_near, says_something
from lorachain.preflight.wording import of_rows
from lorachain.records import TrainingData

Groups = Mapping[bytes, Mapping[str, Sequence[Entry]]]


def row_findings(rows: Rows, *, progress: bool = True) -> Iterator[Finding]:
    """What the rules on rows find. Rows that cannot be read have been found before: `bad_rows`."""
    table = Table(rows, progress=progress)
    files = [(rows.train, table.train)]
    if rows.validation is not None:
        files.append((rows.validation, table.validation))
    for data, entries in files:
        groups = _by_prompt(entries)
        yield from _empty_answers(data)
        yield from _duplicates(data, groups)
        yield from _contradictions(data, groups)
    yield from _near_duplicates(rows.train, table)
    yield from leaks(rows, table)
    for name, entries in table.ancestors_train.items():
        yield from against_ancestor(rows.train, table.train, name, entries)
    if rows.gone:
        yield found(
            "ancestor-data-gone",
            f"Data of ancestors that could not be looked at: {'; '.join(rows.gone)}.",
            "Put the files back as they were to have them looked at; training does without them.",
            files=list(rows.gone),
        )


def _empty_answers(data: TrainingData) -> Iterator[Finding]:
    empty = [
        row.where
        for row in data.rows
        if any(m.role == "assistant" and not says_something(m.content) for m in row.messages)
    ]
    if empty:
        yield found(
            "empty-answers",
            f"{of_rows(empty, data.rows)} of {shown(data.path)} "
            f"{'has' if len(empty) == 1 else 'have'} an answer without a letter, digit or symbol.",
            f"Write the answers, or take the rows out of {shown(data.path)}; where marks alone "
            "are the answer, pass --allow empty-answers.",
            empty,
            rows=len(data.rows),
            empty=len(empty),
        )


def _by_prompt(entries: Iterable[Entry]) -> Groups:
    """Rows that share a whole prompt, by their answer."""
    prompts: dict[bytes, list[Entry]] = defaultdict(list)
    for entry in entries:
        prompts[entry.prompt].append(entry)
    groups: dict[bytes, dict[str, list[Entry]]] = {}
    for prompt, members in prompts.items():
        if len(members) > 1:
            groups[prompt] = defaultdict(list)
            for entry in members:
                groups[prompt][entry.key].append(entry)
    return groups


def _duplicates(data: TrainingData, groups: Groups) -> Iterator[Finding]:
    where = [
        f"{later.where} = {first.where}"
        for answers in groups.values()
        for first, *others in answers.values()
        for later in others
    ]
    if where:
        yield found(
            "duplicate-rows",
            f"{of_rows(where, data.rows)} of {shown(data.path)} "
            f"{'repeats' if len(where) == 1 else 'repeat'} an earlier row.",
            f"Take the later ones out of {shown(data.path)}: a row that is repeated weighs more.",
            where,
            rows=len(data.rows),
            repeated=len(where),
        )


def _contradictions(data: TrainingData, groups: Groups) -> Iterator[Finding]:
    conflicts = [list(answers.values()) for answers in groups.values() if len(answers) > 1]
    if conflicts:
        affected = sum(len(same) for answers in conflicts for same in answers)
        yield found(
            "contradicting-rows",
            f"{len(conflicts):,} {'prompt' if len(conflicts) == 1 else 'prompts'} of "
            f"{shown(data.path)} {'has' if len(conflicts) == 1 else 'have'} more than one answer, "
            f"in {affected:,} of its {len(data.rows):,} rows.",
            f"Keep one answer to each prompt in {shown(data.path)}, unless several are right.",
            [
                f"{first[0].where} != {other[0].where}"
                for first, *others in conflicts
                for other in others
            ],
            rows=len(data.rows),
            prompts=len(conflicts),
            affected=affected,
        )


def _near_duplicates(data: TrainingData, table: Table) -> Iterator[Finding]:
    where = []
    earlier: dict[int, dict[bytes, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in table.train:
        candidates = (
            other
            for text in (entry.text, *table.near.get(entry.text, ()))
            for prompt, others in earlier[text].items()
            if prompt != entry.prompt  # those are duplicates, or contradict each other
            for other in others[:MOST_COMPARED]
        )
        for other in islice(candidates, MOST_COMPARED):
            if entry.system == other.system and answers_near(entry.key, other.key):
                where.append(f"{entry.where} ~ {other.where}")
                break
        earlier[entry.text][entry.prompt].append(entry)
    if where:
        yield found(
            "near-duplicate-rows",
            f"{of_rows(where, data.rows)} of {shown(data.path)} "
            f"{'says' if len(where) == 1 else 'say'} almost what an earlier row says.",
            "Look at some of them; where they are copies, take the later ones out of "
            f"{shown(data.path)}.",
            where,
            rows=len(data.rows),
            near=len(where),
        )
