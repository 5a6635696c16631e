"""Rules over encoded rows: what the length limit loses, and whether every end is trained.

One project cut its answers at 1,024 tokens: the keys that its schema asks for last, and the token
that ends an answer, were never in the loss, and three versions gave no valid answer. Here such
rows are counted, with what each choice costs, before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lorachain.preflight.finding import Finding, Severity, found
from lorachain.preflight.inputs import Length, Tokens
from lorachain.preflight.lengths import Lengths, count, measure

RARE = 0.01
"""A share of rows up to which what a chosen `truncate` does to them is no error."""

_UNENDED = (
    "the loss on them does not say whether answers end",
    "from them the model learns to go on where it should stop",
)


def check_tokens(
    rows: Sequence[Tokens],
    length: Length,
    stop_ids: Sequence[int],
    role: str = "training",
    longest: int = 0,
) -> tuple[Lengths, list[Finding]]:
    """Everything about one file's tokens. `role` names its rows in the findings. `longest` is the
    longest row of all files: the limit that is advised keeps them, too."""
    lengths = measure(rows, length.limit)
    raised = _raised(max(lengths.lossless, longest), length)
    findings = [
        *overlong(rows, length, lengths, role, raised),
        *nothing_trained(rows, length, role, raised),
        *ends(rows, length, frozenset(stop_ids), role, raised),
        *over_context(rows, length, role),
    ]
    return lengths, findings


def overlong(
    rows: Sequence[Tokens], length: Length, of: Lengths, role: str, raised: str
) -> list[Finding]:
    """Rows over the limit: what is lost, and what each other choice would lose."""
    if not of.over:
        return []
    where = [row.row.where for row in rows if len(row.ids) > length.limit]
    says = (
        f"{of.over:,} of {of.rows:,} {role} rows are longer than data.max_seq_length = "
        f"{length.limit} tokens (the longest has {of.lossless:,})"
    )
    drop = f"--set data.on_overlong=drop leaves {_rows(of.drop.rows)} out, with " + (
        f"{of.drop.answer_tokens:,} answer tokens"
    )
    truncate = (
        f"--set data.on_overlong=truncate cuts {of.truncate.answer_tokens:,} answer tokens and the "
        f"end of {_rows(of.truncate.ends)}"
    )
    facts: dict[str, Any] = {"limit": length.limit, "rows": of.over, "longest": of.lossless}
    if length.on_overlong == "error":
        return [
            found("overlong-rows", f"{says}.", f"{raised}; {drop}; {truncate}.", where, **facts)
        ]
    lost = of.drop if length.on_overlong == "drop" else of.truncate
    share = lost.answer_tokens / max(of.answer.total, 1)
    facts |= {"answer_tokens": lost.answer_tokens, "share": share}
    if lost.answer_tokens == 0:
        return [found("answers-cut", f"{says}; no answer is cut.", raised, where, severity="note")]
    did = "they are left out" if length.on_overlong == "drop" else "they are cut"
    says = f"{says}; {did}: {lost.answer_tokens:,} answer tokens ({share:.1%}) are not trained."
    other = truncate if length.on_overlong == "drop" else drop
    return [found("answers-cut", says, f"{raised}; {other}.", where, **facts)]


def nothing_trained(
    rows: Sequence[Tokens], length: Length, role: str, raised: str
) -> list[Finding]:
    """Rows without a trained token, at all or within the limit: nothing is learned from them."""
    cutting = length.on_overlong == "truncate"
    none: list[str] = []
    beyond: list[str] = []
    for row in rows:
        numbers = count(row, length.limit)
        if numbers.trained == 0:
            none.append(row.row.where)
        elif cutting and numbers.within == 0:
            beyond.append(row.row.where)
    findings = []
    if none:
        findings.append(
            found(
                "nothing-trained",
                f"{len(none):,} of {len(rows):,} {role} rows have no trained token.",
                "Give them an answer, or leave them out.",
                none,
                rows=len(none),
            )
        )
    if beyond:
        findings.append(
            found(
                "nothing-trained",
                f"{len(beyond):,} of {len(rows):,} {role} rows have their whole answer beyond "
                f"data.max_seq_length = {length.limit}, so they are left out.",
                f"{raised}; or shorten their prompts.",
                beyond,
                severity=_by_share(beyond, rows),
                rows=len(beyond),
            )
        )
    return findings


def ends(
    rows: Sequence[Tokens], length: Length, stop_ids: frozenset[int], role: str, raised: str
) -> list[Finding]:
    """Rows that do not teach the model to stop: their answer ends with no trained stop token.

    A row's last answer counts; where only an earlier one has no end, it is a warning. What
    `truncate` cuts off is told apart from what the template never writes.
    """
    never: list[str] = []
    cut: list[str] = []
    earlier: list[str] = []
    for row in rows:
        size = len(row.ids)
        if size > length.limit and length.on_overlong != "truncate":
            continue  # not trained on
        mask = bytes(row.trained[: length.limit])
        last = mask.rfind(1)
        if last < 1:
            continue  # nothing-trained says so
        if row.ids[last] not in stop_ids:
            within = last + 1 == len(mask) < size and bool(row.trained[last + 1])
            (cut if within else never).append(row.row.where)
        elif not all(row.ids[i] in stop_ids for i in _run_ends(mask)):
            earlier.append(row.row.where)
    return _end_findings(never, cut, earlier, rows, length, role, raised)


def _end_findings(
    never: list[str],
    cut: list[str],
    earlier: list[str],
    rows: Sequence[Tokens],
    length: Length,
    role: str,
    raised: str,
) -> list[Finding]:
    findings = []
    if never:
        findings.append(
            found(
                "end-untrained",
                f"In {len(never):,} of {len(rows):,} {role} rows the token that ends the answer is "
                "not trained: the model would not learn to stop.",
                "This base's chat template writes no end after these answers. Choose another "
                "instruct model, or mend its template.",
                never,
                rows=len(never),
            )
        )
    if cut:
        findings.append(
            found(
                "end-untrained",
                f"data.on_overlong: truncate cuts the end token off {len(cut):,} of {len(rows):,} "
                f"{role} rows: {_UNENDED[role == 'training']}.",
                f"{raised}; --set data.on_overlong=drop leaves them out.",
                cut,
                severity=_by_share(cut, rows),
                rows=len(cut),
                limit=length.limit,
            )
        )
    if earlier:
        findings.append(
            found(
                "end-untrained",
                f"In {len(earlier):,} of {len(rows):,} {role} rows an earlier answer ends with no "
                "trained end token; the last one does.",
                "This base's template ends only a chat's last answer. Make one row of each answer "
                "where the model should stop after every turn.",
                earlier,
                severity="warning",
                rows=len(earlier),
            )
        )
    return findings


def _run_ends(mask: bytes) -> list[int]:
    """Where each stretch of trained tokens but the last one ends."""
    places = []
    at = mask.find(b"\1\0")
    while at >= 0:
        places.append(at)
        at = mask.find(b"\1\0", at + 1)
    return [place for place in places if mask.find(1, place + 1) >= 0]


def over_context(rows: Sequence[Tokens], length: Length, role: str) -> list[Finding]:
    """Rows that are trained on and longer than the base was made to read."""
    if length.context is None:
        return []
    context = length.context

    def trained_length(row: Tokens) -> int:
        size = len(row.ids)
        if size <= length.limit or length.on_overlong == "error":
            return size
        return length.limit if length.on_overlong == "truncate" else 0

    longer = [row for row in rows if trained_length(row) > context]
    if not longer:
        return []
    return [
        found(
            "over-context",
            f"{len(longer):,} of {len(rows):,} {role} rows are longer than the base can read "
            f"({context:,} tokens).",
            f"Shorten or split them; or --set data.max_seq_length={context} and "
            "--set data.on_overlong=drop, which leaves them out.",
            [row.row.where for row in longer],
            rows=len(longer),
            context=context,
        )
    ]


def _raised(longest: int, length: Length) -> str:
    """The limit that loses nothing, where the base can read that much."""
    if length.context is not None and longest > length.context:
        return (
            f"the base reads {length.context:,} tokens, so no limit keeps everything: shorten or "
            "split the longest rows"
        )
    return f"--set data.max_seq_length={longest} keeps everything"


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _by_share(part: Sequence[str], rows: Sequence[Tokens]) -> Severity:
    return "error" if len(part) > RARE * len(rows) else "warning"
