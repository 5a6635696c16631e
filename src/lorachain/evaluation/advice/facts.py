"""The facts that advice stands on: what each one is, in which unit, and what measures it.

`FACTS` is the whole list. A rule may also name a setting by its dotted key, such as
`training.learning_rate`: it is the value that the version was trained with.

What `version_facts` puts into `VersionInfo.facts` under a name of FACTS is taken as it is, and so
are settings, under `config` (nested, as in lineage.json). More facts are derived from
`validation_curve` ([[step, loss], ...]) and `rows_by_task` ({task: rows}); the rest comes from the
Comparison. None is the same as missing: a fact that nobody measured is unknown, never 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lorachain.config import KNOWN_KEYS, StageConfig

Kind = Literal["number", "text", "flag", "other"]
Scope = Literal["version", "task", "suite", "tested_suite"]


@dataclass(frozen=True)
class Fact:
    """One kind of fact. `unit` stands after its value; `how` is the command or flag that measures
    it; a fact of scope task, suite (of an older version) or tested_suite (any that it was scored
    on) exists once for each of them."""

    what: str
    how: str
    unit: str = ""
    kind: Kind = "number"
    scope: Scope = "version"
    choices: tuple[str, ...] = ()


_LINEAGE = "train it with this project's scripts: lineage.json and training_log.jsonl record it"
_CURVE = (
    "train with --val-data, --set training.eval_strategy=steps and --set training.eval_steps=N "
    "(4 points or more)"
)
_OVERLONG = (
    "train it again (an older lineage.json does not record it), or run its training command with "
    "--show-sample 1 --set data.on_overlong=error: it trains nothing and says how many rows are "
    "too long, and what cutting them costs"
)
_COMPARE = "run src/evaluation/compare_versions.py on a suite whose items can be scored"
_EARLIER = "compare it with the version before it: compare_versions.py with both of them"
_SCHEMA = "give the suite's items a `schema`, then run compare_versions.py or rescore.py"
_TASKS = "give the suite's items a `task`"
_CHAIN = "compare the whole chain, each version with its own suite: compare_versions.py --chain"
_GRPO = "train it with GRPO: its training_log.jsonl will record it"
_TESTED: Scope = "tested_suite"
_VERDICTS = ("better", "worse", "equivalent", "cannot tell")

FACTS: dict[str, Fact] = {
    # training: VersionInfo.facts
    "version": Fact("the version's name", _LINEAGE, kind="text"),
    "kind": Fact("how it was trained", _LINEAGE, kind="text", choices=("sft", "grpo")),
    "steps": Fact("optimizer steps taken", _LINEAGE, "steps"),
    "epochs_seen": Fact("how often each training row was seen", _LINEAGE, "epochs"),
    "rows": Fact("training rows of one epoch, replayed ones too", _LINEAGE, "rows"),
    "rows_per_step": Fact("rows of one optimizer step", _LINEAGE, "rows"),
    "steps_per_row": Fact("optimizer steps for each training row", _LINEAGE),
    "warmup_steps": Fact("steps over which the learning rate rose", _LINEAGE, "steps"),
    "lr_tail_share": Fact(
        "share of the steps, after the peak, whose learning rate was under a tenth of the peak",
        _LINEAGE,
    ),
    "lr_dead_share": Fact("the same under a hundredth of the peak", _LINEAGE),
    "train_loss_first": Fact("training loss of the first logged step", _LINEAGE),
    "train_loss_last": Fact("training loss of the last logged step", _LINEAGE),
    "grad_norm_mean": Fact("mean norm of the gradients before clipping", _LINEAGE),
    "grad_norm_max": Fact("largest norm of the gradients before clipping", _LINEAGE),
    "overlong_rows": Fact("own rows longer than data.max_seq_length", _OVERLONG, "rows"),
    "answers_cut": Fact("own rows whose answer was cut", _OVERLONG, "rows"),
    "lost_answer_tokens": Fact("answer tokens not trained for it", _OVERLONG, "tokens"),
    "truncated_answer_share": Fact("share of its own rows whose answer was cut", _OVERLONG),
    "best_step": Fact("step with the lowest validation loss", _CURVE, "steps"),
    "best_step_share": Fact("best_step as a share of all steps", _CURVE),
    "validation_rise": Fact("rise of the validation loss since its best, as a share of it", _CURVE),
    # GRPO: nothing fills these yet
    "reward_zero_std_share": Fact("share of the groups whose rewards were all the same", _GRPO),
    "completion_at_limit_share": Fact("share of the completions cut at their limit", _GRPO),
    # scores on the version's own suite (the first suite where it has none)
    "suite": Fact("the suite that the scores are from", _COMPARE, kind="text"),
    "score": Fact("mean of the suite's headline metric, 0 to 1", _COMPARE),
    "score_n": Fact("items that the score is the mean of", _COMPARE, "items"),
    "earlier": Fact("the version that it is compared with", _EARLIER, kind="text"),
    "score_change": Fact("score minus the earlier version's", _EARLIER),
    "score_verdict": Fact("what the test says", _EARLIER, kind="text", choices=_VERDICTS),
    "items_needed": Fact("items that would show a change as large as this", _EARLIER, "items"),
    "json_rate": Fact("share of answers that hold JSON of any root, not cut off", _SCHEMA),
    "parse_rate": Fact("share of answers that hold a whole JSON object", _SCHEMA),
    "strict_rate": Fact("share of answers that are JSON and nothing else", _SCHEMA),
    "schema_valid_rate": Fact("share of answers that fit the schema, read leniently", _SCHEMA),
    "strict_valid_rate": Fact("share of answers that fit the schema, read strictly", _SCHEMA),
    "strict_gap": Fact("schema_valid_rate minus strict_valid_rate", _SCHEMA),
    "failures": Fact("answers that do not fit the schema", _SCHEMA, "answers"),
    "root_array_share": Fact("share of the failures whose root is a list", _SCHEMA),
    "missing_fields_share": Fact("share of the failures that lack a required field", _SCHEMA),
    "cut_share": Fact("share of answers that ended at the token limit", _COMPARE),
    "suites_worse": Fact(
        "suites on which it is worse than the version before it, or than the one they are from",
        _EARLIER,
        "suites",
    ),
    "line_steps": Fact(
        "optimizer steps of it and of all versions that it stands on", _CHAIN, "steps"
    ),
    # where things lie
    "parent_folder": Fact("the folder of the version's parent", _CHAIN, kind="text"),
    # each task of the version's own suite
    "task": Fact("the task", _TASKS, kind="text", scope="task"),
    "task_score": Fact("mean of the headline metric on the task", _TASKS, scope="task"),
    "task_n": Fact("scored items of the task", "add items of this task", "items", scope="task"),
    "task_change": Fact("task_score minus the earlier version's", _EARLIER, scope="task"),
    "task_rows": Fact(
        "training rows of the task", "name the `task` in training rows", "rows", scope="task"
    ),
    # each suite of an older version of its line
    "old_suite": Fact("a suite of an older version", _CHAIN, kind="text", scope="suite"),
    "old_version": Fact("the version whose suite it is", _CHAIN, kind="text", scope="suite"),
    "backward_transfer": Fact("change of the headline since that version", _CHAIN, scope="suite"),
    "old_verdict": Fact(
        "what the test says of that change", _CHAIN, kind="text", scope="suite", choices=_VERDICTS
    ),
    "old_n": Fact("items of the suite that the test is on", _CHAIN, "items", scope="suite"),
    "old_items_needed": Fact(
        "items that would show a change as large as this", _CHAIN, "items", scope="suite"
    ),
    # each suite that the version was scored on, whosever it is
    "tested_suite": Fact("a suite that it was scored on", _COMPARE, kind="text", scope=_TESTED),
    "tested_earlier": Fact(
        "the version that it is compared with there", _EARLIER, kind="text", scope=_TESTED
    ),
    "tested_verdict": Fact(
        "what the test says there", _EARLIER, kind="text", scope=_TESTED, choices=_VERDICTS
    ),
    "tested_n": Fact("items that both were scored on there", _EARLIER, "items", scope=_TESTED),
    "tested_items_needed": Fact(
        "items that would show a change as large as this", _EARLIER, "items", scope=_TESTED
    ),
}

_FIELDS = {
    f"{section}.{name}": info
    for section, model in StageConfig.model_fields.items()
    for name, info in getattr(model.annotation, "model_fields", {}).items()
}


def fact(name: str) -> Fact | None:
    """The fact of this name, or of this setting's dotted key; None where there is neither."""
    if name in FACTS:
        return FACTS[name]
    if name not in KNOWN_KEYS:
        return None
    return Fact("the setting of this name", _LINEAGE, kind=_setting_kind(name))


def in_scope(name: str, for_each: str | None) -> bool:
    """Whether a rule for each `for_each` (None: for the version) can ask for this fact."""
    found = fact(name)
    return found is not None and found.scope in ("version", for_each)


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for a mistyped name, or nothing when none is near."""
    close = difflib.get_close_matches(name, list(known), 1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def _setting_kind(key: str) -> Kind:
    """What a setting's annotation allows, None and Annotated's limits aside."""
    found = _plain_types(_FIELDS[key].annotation)
    if found <= {int, float}:
        return "number"
    if found == {bool}:
        return "flag"
    return "text" if found == {str} else "other"


def _plain_types(annotation: Any) -> set[Any]:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _plain_types(args[0])
    if origin is Literal:
        return {type(value) for value in args}
    if origin in (Union, UnionType):
        return set().union(*map(_plain_types, args))
    return set() if annotation is NoneType else {origin or annotation}
