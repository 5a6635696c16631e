"""Which version of a comparison stands on which, in what order they are shown, who is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorachain import lineage
from lorachain.errors import UserError
from lorachain.evaluation.evaluate import BASE, Version
from lorachain.lineage import Lineage


@dataclass(frozen=True)
class Lines:
    """`order` has the base first and every parent before its children. `parents` are the nearest
    versions of this comparison that each stands on (None: none of them is here)."""

    order: tuple[str, ...]
    parents: Mapping[str, str | None]
    lineages: Mapping[str, Lineage | None]
    base: str | None

    def ancestors(self, name: str) -> Iterator[str]:
        """The parent, its parent, ... as far as they are here."""
        parent = self.parents[name]
        while parent is not None:
            yield parent
            parent = self.parents[parent]

    def descendants(self, name: str) -> list[str]:
        """The versions that stand on this one, in order."""
        return [other for other in self.order if name in self.ancestors(other)]

    def generation(self, name: str) -> int | None:
        """0 for the base, 1 for a version that stands on it, 2 for its child, ...

        Counted in the lineage, so that a version that was left out counts too; None where the
        line cannot be followed to its start.
        """
        if name == self.base:
            return 0
        found, parent = self.lineages[name], self.parents[name]
        if found is None:
            return 1 + sum(other != self.base for other in self.ancestors(name))
        above = [found, *_above(found)]
        if above[-1].data["parent"] is None:
            return len(above)
        if parent in (None, self.base):
            return None
        below = self.generation(str(parent))
        return None if below is None else below + 1

    def recorded_parent(self, name: str) -> str | None:
        """The parent's name here, else as the lineage calls it; the base for a first version."""
        found = self.lineages[name]
        if found is None:
            return None
        parent = found.data["parent"]
        if parent is None:
            return self.base
        here = self.parents[name]
        kept = self.lineages[here] if here is not None else None
        if kept is not None and kept.adapter_sha256 == parent["adapter_sha256"]:
            return here
        return str(parent.get("name") or parent["adapter_sha256"][:12])


def find_lines(versions: Sequence[Version]) -> Lines:
    """Read the lineages of these versions and put them in order.

    A version without a readable lineage is taken to stand on the one that was given before it.
    """
    base = next((v.name for v in versions if v.folder is None and v.sha256 == BASE), None)
    by_sha = {v.sha256: v.name for v in reversed(versions) if v.name != base}
    lineages = {v.name: read_lineage(v) for v in versions}
    parents: dict[str, str | None] = {}
    unknown = []
    for version in versions:
        found = lineages[version.name]
        if found is None:
            parents[version.name] = None
            if version.name != base:
                unknown.append(version.name)
        else:
            parents[version.name] = _nearest(found, by_sha, version.name) or base
    names = [version.name for version in versions]
    lines = Lines((), parents, lineages, base)
    for name in unknown:
        before = names[: names.index(name)]
        parents[name] = next((n for n in reversed(before) if name not in lines.ancestors(n)), base)
    return Lines(tuple(_ordered(names, parents)), parents, lineages, base)


def default_pairs(lines: Lines) -> list[tuple[str, str]]:
    """(earlier, later): each version against its parent, against the base, and against the one
    shown before it, which is another one only where the chain branches."""
    pairs: dict[tuple[str, str], None] = {}
    for i, name in enumerate(lines.order):
        before = lines.order[i - 1] if i else None
        for other in (lines.parents[name], lines.base, before):
            if other is not None and name not in (other, lines.base):
                pairs[other, name] = None
    return list(pairs)


def read_lineage(version: Version) -> Lineage | None:
    """A version's lineage; None for the base, and where it cannot be read any more."""
    if version.folder is None:
        return None
    try:
        return lineage.read(version.folder)
    except (UserError, OSError):
        return None


def _above(found: Lineage) -> Iterator[Lineage]:
    """The ancestors that can be read."""
    try:
        yield from lineage.ancestors(found, to_the_end=False)
    except (UserError, OSError):
        return


def _nearest(found: Lineage, by_sha: Mapping[str, str], own: str) -> str | None:
    """The nearest ancestor that is here, by the hash that its child recorded."""
    for one in (found, *_above(found)):
        parent = one.data["parent"]
        name = by_sha.get(parent["adapter_sha256"]) if parent else None
        if name is not None and name != own:
            return name
    return None


def _ordered(names: Sequence[str], parents: Mapping[str, str | None]) -> Iterator[str]:
    """Parents before children, else as given; a root that has no parent here comes as given."""
    left = list(names)
    while left:
        ready = next(name for name in left if parents[name] not in left)
        left.remove(ready)
        yield ready
