"""What to do next: the rules of configs/advice.yaml over the measured facts of one version.

    items = advise(comparison, "v3", read_rules())
    print(format_advice(items))
    text, conflicts = next_config(items)      # the next stage's YAML, with only the changed keys

A rule holds (yes), does not (no), or cannot be judged (unknown): then it says what to measure. The
facts are listed in `facts.FACTS` and collected in `collect`; how rules are written stands in
`rules`, `conditions` and `changes`.
"""

from lorachain.evaluation.advice.advise import advise, advise_on, next_config
from lorachain.evaluation.advice.collect import Facts, facts_of
from lorachain.evaluation.advice.facts import FACTS
from lorachain.evaluation.advice.items import AdviceItem, as_dicts, format_advice
from lorachain.evaluation.advice.rules import RULES, Rule, read_rules
from lorachain.evaluation.advice.scores import Known

__all__ = [
    "FACTS",
    "RULES",
    "AdviceItem",
    "Facts",
    "Known",
    "Rule",
    "advise",
    "advise_on",
    "as_dicts",
    "facts_of",
    "format_advice",
    "next_config",
    "read_rules",
]
