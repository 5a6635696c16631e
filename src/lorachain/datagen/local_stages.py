"""The last two stages, from files to files: split, and training rows. They need no teacher."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

from lorachain.datagen.asked import read_asked, suite_files
from lorachain.datagen.fixed_suite import FIXED, check_unseen, drawn, freeze, suite_rows
from lorachain.datagen.leaks import Leak, find_leaks, used_by_versions
from lorachain.datagen.lock import (
    LOCK,
    SPLITS,
    Rule,
    check_rule,
    earlier_locks,
    read_lock,
    write_lock,
)
from lorachain.datagen.manifest import write_manifest
from lorachain.datagen.qa import find_schemas
from lorachain.datagen.rowfiles import read_rows, write_rows
from lorachain.datagen.rows import DatasetRow, SplitRow
from lorachain.datagen.sft_format import format_rows
from lorachain.datagen.split import Placed, place_rows, write_up
from lorachain.errors import UserError
from lorachain.files import folder_lock
from lorachain.jsonl import raise_all, write_objects
from lorachain.paths import SUITES, shown


def split_files(
    in_path: Path, out_dir: Path, rule: Rule, *, drop_leaks: bool, suites: Path, models: Path
) -> str:
    """Write train, val and test, the lock and a manifest; what came of it, for people."""
    rows = read_rows(in_path, DatasetRow)
    if not rows:
        raise UserError(f"{shown(in_path)} holds no rows.")
    rejected = [f"{row.id}: {row.reasons[0]}" for row in rows if row.reasons]
    raise_all(rejected, f"{shown(in_path)} holds rows that were rejected; name the accepted ones")
    with folder_lock(out_dir, "The folder of the splits"):
        lock = read_lock(out_dir / LOCK)
        check_rule(lock, rule)
        earlier = [other for other in earlier_locks(out_dir) if other.places]
        placed = place_rows(rows, rule, lock, earlier)
        leaks = find_leaks(placed.rows, read_asked(suites), used_by_versions(models))
        _leave_out(placed, leaks, drop_leaks)
        write_lock(out_dir / LOCK, rule, placed.places)
        files = [out_dir / f"{split}.jsonl" for split in SPLITS]
        for split, file in zip(SPLITS, files, strict=True):
            write_rows(file, placed.of(split))
        write_manifest(
            files[0],
            stage="split",
            inputs=[in_path, *(other.path for other in earlier), *suite_files(suites)],
            outputs=[*files[1:], out_dir / LOCK],
            settings=asdict(rule),
            counts={"rows": len(placed.rows), "by_task": placed.table(), "leaks": len(leaks)},
            left_out={
                "between": dict(placed.between),
                "leaks": {leak.row.id: leak.why for leak in leaks},
            },
        )
    lines = [write_up(placed, shown(out_dir))]
    lines += [f"Left out: {leak}." for leak in leaks]
    lines += [f"Places of earlier splits were kept: {shown(other.path)}." for other in earlier]
    return "\n".join(lines)


def _leave_out(placed: Placed, leaks: list[Leak], drop: bool) -> None:
    """Take leaking rows out, or raise a UserError that names them."""
    if not leaks:
        return
    if not drop:
        raise_all(
            [str(leak) for leak in leaks],
            "Rows that may not stand where they would; nothing was written. Take them out of the "
            "dataset, or pass --drop-leaks",
        )
    ids = {leak.row.id for leak in leaks}
    new = ids - {place.id for place in placed.places[: placed.locked]}
    placed.rows = [row for row in placed.rows if row.id not in ids]
    placed.places = [place for place in placed.places if place.id not in new]


def sft_files(
    splits_dir: Path,
    out_dir: Path,
    seed: int,
    suite: Path | None = None,
    *,
    count: int = FIXED,
    suites: Path = SUITES,
) -> str:
    """Write the training rows of every split and freeze the suite; what came of it, for people.

    `suite` is the file that the user named; where none is named, it is SPEC_fixed20_v1.jsonl in the
    folder `suites`, and written only when the test split has enough rows.
    """
    placed = {split: read_rows(splits_dir / f"{split}.jsonl", SplitRow) for split in SPLITS}
    rows = [row for found in placed.values() for row in found]
    if not placed["train"]:
        raise UserError(f"{shown(splits_dir / 'train.jsonl')} holds no rows: nothing to train on.")
    misplaced = [
        f"{r.id} is {r.split!r}" for s, found in placed.items() for r in found if r.split != s
    ]
    raise_all(misplaced, f"{shown(splits_dir)} holds rows in another split's file")
    schemas = find_schemas(rows)
    made = {
        split: format_rows(found, schemas, splits_dir / f"{split}.jsonl")
        for split, found in placed.items()
    }
    path = suite or suites / default_suite(rows, count)
    check_unseen(path, rows)
    lines = []
    for split in SPLITS:
        file = out_dir / f"{split}_sft.jsonl"
        write_objects(file, made[split].rows)
        lines.append(f"{len(made[split].rows)} {split} rows: {shown(file)}")
    added = sum((found.added for found in made.values()), Counter())
    lines += [
        f"  {key} was missing in {n} answers and is empty there now" for key, n in added.items()
    ]
    items = suite_rows(drawn(placed["test"], count, seed), made["test"].answers)
    if suite is None and not path.is_file() and len(items) < count:
        lines.append(
            f"No suite was frozen: the test split has {len(items)} rows, and a suite has {count}. "
            f"With more data there will be one; --fixed-count {max(1, len(items))} freezes fewer."
        )
    else:
        lines.append(freeze(path, items, count))
    write_manifest(
        out_dir / "train_sft.jsonl",
        stage="sft",
        inputs=[splits_dir / f"{split}.jsonl" for split in SPLITS],
        outputs=[out_dir / "val_sft.jsonl", out_dir / "test_sft.jsonl", path],
        settings={"seed": seed, "fixed_count": count},
        counts={split: len(found.rows) for split, found in made.items()} | {"added": dict(added)},
    )
    return "\n".join(lines)


def default_suite(rows: list[SplitRow], count: int) -> str:
    """The file name of a dataset's suite, by its (first) spec."""
    spec = min(rows, key=lambda row: (row.index, row.id)).spec
    return f"{spec}_fixed{count}_v1.jsonl"
