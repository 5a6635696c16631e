"""Reading a file of rows for the look before the training: its good rows, and what is bad."""

from __future__ import annotations

from pathlib import Path

from lorachain.errors import UserError
from lorachain.paths import shown
from lorachain.preflight.finding import MAX_NAMED, Finding, found
from lorachain.records import TrainingData, check_training_data


def read_rows(path: Path) -> tuple[TrainingData | None, Finding | None]:
    """The rows of one file that can be read, and a `bad-rows` that names all the others.

    The rows are None where there are none: the file is missing, not UTF-8, empty, or every line of
    it is bad. The finding's `facts["problems"]` say what is wrong, one text for each bad row.
    """
    try:
        data, problems = check_training_data(path)
    except UserError as error:
        do = f"Mend {shown(path)}, or name another file."
        return None, found("bad-rows", str(error), do, path=shown(path), problems=[str(error)])
    if not problems:
        return data, None
    texts = [text for _, text in problems]
    more = len(texts) - MAX_NAMED
    finding = found(
        "bad-rows",
        f"{len(texts):,} of the {len(texts) + len(data.rows):,} rows of {shown(path)} cannot be "
        f"trained on: {'; '.join(texts[:MAX_NAMED])}{f'; and {more:,} more' if more > 0 else ''}.",
        f"Mend these lines of {shown(path)}, or take them out.",
        [f"{shown(path)}:{line}" for line, _ in problems],
        path=shown(path),
        rows=len(texts) + len(data.rows),
        bad=len(texts),
        problems=texts,
    )
    return (data if data.rows else None), finding
