"""The rules on rows of several files: what is trained on here and measured on there.

Prompts are compared without their system prompts and in one spelling (NFKC, case, white space,
punctuation marks), then as near texts: a Jaccard similarity of 0.9 over the 5-grams that are their
own, the same numbers, and near answers where both are known. In chats of several turns every answer
that is trained on counts, with all that stands before it. This does not find a question in other
words, in another language, or as a part of a longer one; nor one that differs in a number, or in
the wording of a template (`shingles`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lorachain.paths import shown
from lorachain.preflight.finding import Finding, found
from lorachain.preflight.inputs import Rows
from lorachain.preflight.table import Entry, Match, Table
from lorachain.preflight.wording import of_rows
from lorachain.records import TrainingData


@dataclass(frozen=True)
class _Leak:
    """Two sets of entries that should share nothing.

    `says` is about those of `ones` that do ({some} names their number), `do` the way out. The
    `earlier` answers of those rows that are trained on belong to them.
    """

    code: str
    ones: Sequence[Entry]
    others: Sequence[Entry]
    says: str
    do: str
    between: tuple[str, str]
    noun: str = "row"
    earlier_ones: Sequence[Entry] = ()
    earlier_others: Sequence[Entry] = ()


def leaks(rows: Rows, table: Table) -> Iterator[Finding]:
    """A finding for each pair of files, versions or suites that shares rows and must not."""
    for leak in _looked_for(rows, table):
        ones, others = [*leak.ones, *leak.earlier_ones], [*leak.others, *leak.earlier_others]
        answers = list(table.matches(ones, others))
        matches = _once(answers)
        if not matches:
            continue
        back = list(table.matches(leak.others, [match.one for match in answers]))
        near = sum(match.near for match in matches)
        says = leak.says.format(
            some=of_rows(matches, leak.ones, leak.noun),
            be="is" if len(matches) == 1 else "are",
            nearly=f", {near:,} of them nearly" if near else "",
            items=_of_its(back, leak.others),
        )
        yield found(
            *(leak.code, says, leak.do, [match.where for match in matches]),
            between=list(leak.between),
            matched=len(matches),
            near=near,
            of=len(leak.ones),
            others_matched=len(back),
            others_of=len(leak.others),
        )


def _once(matches: Iterable[Match]) -> list[Match]:
    """Of each row the first match: several of its answers may have one."""
    first: dict[str, Match] = {}
    for match in matches:
        first.setdefault(match.one.where, match)
    return list(first.values())


def _of_its(some: Sequence[object], items: Sequence[object]) -> str:
    return f"{len(some):,} of its {len(items):,} items" if len(items) > 1 else "its only item"


def _looked_for(rows: Rows, table: Table) -> Iterator[_Leak]:
    own = shown(rows.train.path)
    if rows.validation is not None:
        yield _in_validation(table, own, shown(rows.validation.path))
    for suite, items in table.suites.items():
        yield _Leak(
            *("leak-suite", table.train, items),
            f"{{some}} of {_plain(own)} {{be}} asked by the suite {_plain(suite)}{{nearly}}: "
            "{items} would measure memory.",
            f"Take the rows out of {own}, or the items out of the suite, or pass "
            "--allow leak-suite.",
            (own, suite),
            earlier_ones=table.earlier_train,
        )
    for name, entries in table.ancestors_validation.items():
        yield _Leak(
            *("leak-ancestor-validation", table.train, entries),
            f"{{some}} of {_plain(own)} {{be}} in the validation data of {_plain(name)}{{nearly}}: "
            f"what is forgotten of {_plain(name)} could not be seen.",
            f"Take the rows out of {own}, or pass --allow leak-ancestor-validation.",
            (own, name),
            earlier_ones=table.earlier_train,
        )
    for name, entries in table.ancestors_train.items():
        if rows.validation is not None:
            yield _in_ancestor(table, shown(rows.validation.path), name, entries)
        for suite, items in table.suites.items():
            yield _Leak(
                *("leak-suite-ancestor", items, entries),
                f"{{some}} of the suite {_plain(suite)} {{be}} in the training data of "
                f"{_plain(name)}{{nearly}}: they measure its memory, and that of all after it.",
                f"Take the items out of the suite {suite}, or put others in their place.",
                (suite, name),
                "item",
                earlier_others=table.earlier_ancestors[name],
            )


def _in_validation(table: Table, own: str, measured: str) -> _Leak:
    return _Leak(
        *("leak-validation", table.train, table.validation),
        f"{{some}} of {_plain(own)} {{be}} in {_plain(measured)} too{{nearly}}: the validation "
        "loss would measure memory.",
        f"Take the rows out of {own} or out of {measured}, or pass --allow leak-validation.",
        (own, measured),
        earlier_ones=table.earlier_train,
    )


def _in_ancestor(table: Table, measured: str, name: str, entries: Sequence[Entry]) -> _Leak:
    return _Leak(
        *("leak-ancestor-training", table.validation, entries),
        f"{{some}} of {_plain(measured)} {{be}} in the training data of {_plain(name)}{{nearly}}: "
        "the validation loss would measure memory.",
        f"Take the rows out of {measured}, or pass --allow leak-ancestor-training.",
        (measured, name),
        earlier_others=table.earlier_ancestors[name],
    )


def _plain(name: str) -> str:
    """A name for a format string: a file may have braces in its name."""
    return name.replace("{", "{{").replace("}", "}}")


def against_ancestor(
    data: TrainingData, train: Sequence[Entry], name: str, entries: Iterable[Entry]
) -> Iterator[Finding]:
    """Rows with a prompt of an ancestor's: the same answer repeats, another one contradicts."""
    prompts = {entry.prompt for entry in train}
    before: dict[bytes, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.prompt in prompts:
            before[entry.prompt].setdefault(entry.key, entry)
    repeats, contradicts = [], []
    for entry in train:
        if known := before.get(entry.prompt):
            same = known.get(entry.key)
            if same is not None:
                repeats.append(f"{entry.where} = {same.where}")
            else:
                contradicts.append(f"{entry.where} != {next(iter(known.values())).where}")
    own = shown(data.path)
    if repeats:
        yield found(
            "repeats-ancestor",
            f"{of_rows(repeats, train)} of {own} {'was' if len(repeats) == 1 else 'were'} "
            f"trained on by {name} already.",
            f"Nothing, where that is meant; --replay-share repeats rows without copies in {own}.",
            repeats,
            between=[own, name],
            rows=len(train),
            repeated=len(repeats),
        )
    if contradicts:
        yield found(
            "contradicts-ancestor",
            f"{of_rows(contradicts, train)} of {own} {'has' if len(contradicts) == 1 else 'have'} "
            f"a prompt of {name}'s training data with another answer.",
            f"Where the new answers are right, do not replay {name}'s rows: they bring the old "
            f"ones back. Where they are not, mend them in {own}.",
            contradicts,
            between=[own, name],
            rows=len(train),
            contradicting=len(contradicts),
        )
