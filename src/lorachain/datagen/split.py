"""Train, val and test, so that no row ever moves and no two near rows are parted.

    found = place_rows(rows, Rule(seed=42, train=0.8, val=0.1, test=0.1), lock, earlier)

1. A row that a lock knows, of this folder or of one beside it, stands where it stood.
2. Other rows are grouped by near prompts (`near`). A group that is near placed rows follows them.
3. Any other group is placed by a hash of the seed and of the group, against the fractions.
4. Where the placed rows that a group is near stand in different splits, its new rows are left out:
   wherever they stood, they would show a test row to the training, or the other way round.

A hash gives each task its fractions on average only: of 30 rows with a test fraction of 0.1, 3 are
expected, and none is drawn in 4 of 100 cases. Counting rows out exactly would need to know how many
there will be, and would move rows when there are more. `Placed.table` shows what came of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lorachain.datagen.draws import share
from lorachain.datagen.lock import SPLITS, Lock, Place, Rule
from lorachain.datagen.near import NearTexts
from lorachain.datagen.rows import DatasetRow, SplitRow
from lorachain.files import sha256_text
from lorachain.preflight.texts import tight


@dataclass
class Placed:
    """Every row's place. `places` is the whole new lock, its first `locked` those of the old one;
    `kept` counts the rows that stood there before; `between` are the rows that are left out because
    they are near rows of several splits, with those rows' ids."""

    rows: list[SplitRow]
    places: list[Place]
    locked: int = 0
    kept: int = 0
    between: list[tuple[str, list[str]]] = field(default_factory=list)

    def of(self, split: str) -> list[SplitRow]:
        """The rows of one split, in the order of the plan."""
        return [row for row in self.rows if row.split == split]

    def table(self) -> dict[str, dict[str, int]]:
        """Rows by task and split."""
        found: dict[str, dict[str, int]] = {}
        for row in self.rows:
            found.setdefault(row.task, dict.fromkeys(SPLITS, 0))[row.split] += 1
        return dict(sorted(found.items()))


def place_rows(
    rows: Sequence[DatasetRow], rule: Rule, lock: Lock, earlier: Sequence[Lock] = ()
) -> Placed:
    """Place every row. The order of `rows` does not matter."""
    ordered = sorted(rows, key=lambda row: (row.index, row.id))
    table = _Table(lock, earlier)
    found: dict[str, Place] = {}
    placed = Placed([], list(lock.places), len(lock.places))
    for row in ordered:
        if (old := table.own_place(row)) is not None:
            found[row.id] = old
            placed.kept += 1
    for members in table.groups([row for row in ordered if row.id not in found]):
        near = [place for row in members for place in table.near_places(row)]
        if len({place.split for place in near}) > 1:
            ids = sorted({place.id for place in near})
            placed.between += [(row.id, ids) for row in members]
            continue
        group = min((place.group for place in near), default=_group_of(members))
        split = near[0].split if near else rule.split(share("split", rule.seed, group))
        for row in members:
            found[row.id] = Place(row.id, split, group, row.prompt)
    placed.rows = [
        SplitRow(**row.as_dict() | {"split": found[row.id].split, "group": found[row.id].group})
        for row in ordered
        if row.id in found
    ]
    known = set(lock.places)
    placed.places += [found[row.id] for row in placed.rows if found[row.id] not in known]
    placed.between.sort()
    return placed


def _group_of(members: Sequence[DatasetRow]) -> str:
    """A group's name: the smallest of its prompts' hashes, so that no order matters."""
    return min(sha256_text(tight(row.prompt)) for row in members)[:16]


class _Table:
    """Rows beside the places of all locks, and which of them are near each other."""

    def __init__(self, lock: Lock, earlier: Sequence[Lock]) -> None:
        self._own = _by_id(lock.places)
        self._others = _by_id([place for other in earlier for place in other.places])
        self._places = [*lock.places, *(place for other in earlier for place in other.places)]
        self._near_places = NearTexts([place.prompt for place in self._places])

    def own_place(self, row: DatasetRow) -> Place | None:
        """Where the row itself stood. A row with a new prompt under an old id is another one."""
        key = tight(row.prompt)
        if same := [p for p in self._own.get(row.id, ()) if tight(p.prompt) == key]:
            return same[0]
        same = [p for p in self._others.get(row.id, ()) if tight(p.prompt) == key]
        splits = {place.split for place in (*same, *self._near(row))}
        return same[0] if same and len(splits) == 1 else None

    def near_places(self, row: DatasetRow) -> list[Place]:
        """The places that decide on a new row: those near it, and its own under an older prompt."""
        return [*self._near(row), *self._own.get(row.id, ())]

    def _near(self, row: DatasetRow) -> list[Place]:
        return [self._places[i] for i in self._near_places.near(row.prompt)]

    def groups(self, rows: Sequence[DatasetRow]) -> Iterator[list[DatasetRow]]:
        """New rows that are near each other, directly or by way of others."""
        above = list(range(len(rows)))

        def top(i: int) -> int:
            while above[i] != i:
                above[i] = i = above[above[i]]
            return i

        near = NearTexts([row.prompt for row in rows])
        for i, row in enumerate(rows):
            for j in near.near(row.prompt):
                above[top(i)] = top(j)
        found: dict[int, list[DatasetRow]] = defaultdict(list)
        for i, row in enumerate(rows):
            found[top(i)].append(row)
        yield from found.values()


def _by_id(places: Sequence[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        found[place.id].append(place)
    return dict(found)


def write_up(placed: Placed, where: str) -> str:
    """What came of it, for people: a line for each task, and what to bear in mind."""
    total = Counter(row.split for row in placed.rows)
    counts = ", ".join(f"{split} {total[split]}" for split in SPLITS)
    lines = [f"{len(placed.rows)} rows ({counts}): {where}"]
    if placed.kept:
        lines.append(f"{placed.kept} of them stand where they stood before.")
    for task, row in placed.table().items():
        lines.append(f"  {task}: " + ", ".join(f"{split} {row[split]}" for split in SPLITS))
    for id_, near in placed.between:
        lines.append(
            f"Left out: {id_} is near rows of different splits ({', '.join(near[:4])}"
            f"{', ...' if len(near) > 4 else ''})."
        )
    empty = [split for split in SPLITS if not total[split]]
    if empty and placed.rows:
        lines.append(
            f"Note: no row in {' and '.join(empty)}. A hash places rows one by one; with more rows "
            "there will be some."
        )
    return "\n".join(lines)
