"""Where the files of a run are.

data/interim/           plan, drafts, critiques (data/interim/sample/ of a sample)
data/processed/         dataset, report, splits/v1, sft/v1 (data/processed/sample/ of a sample)

A spec with another id than dataset_v1 has folders of its own below these, named by it; so have dry
runs. What follows a version's failures stands beside v1 as after_VERSION, so that its split sees
where the rows of the others stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lorachain.datagen.pipeline.flags import SPEC
from lorachain.datagen.qa_files import qa_report
from lorachain.errors import UserError
from lorachain.paths import from_project

DEFAULT_SPEC = from_project(SPEC)
FIRST = "dataset_v1"  # the id of that spec
SAMPLE, DRY_RUN = "sample", "dry_run"
_TAKEN = {SAMPLE, DRY_RUN, "splits", "sft", "suites", "teacher_calls"}


@dataclass(frozen=True)
class Places:
    """Every file of a run. `suites` is the folder that its suite is frozen in, `tag` v1 or
    after_VERSION."""

    interim: Path
    processed: Path
    suites: Path
    tag: str = "v1"

    @property
    def plan(self) -> Path:
        return self.interim / f"prompt_plan_{self.tag}.jsonl"

    @property
    def drafts(self) -> Path:
        return self.interim / f"drafts_{self.tag}.jsonl"

    @property
    def critiques(self) -> Path:
        return self.interim / f"critiques_{self.tag}.jsonl"

    @property
    def dataset(self) -> Path:
        return self.processed / f"dataset_{self.tag}.jsonl"

    @property
    def rejected(self) -> Path:
        return self.processed / f"dataset_{self.tag}_rejected.jsonl"

    @property
    def journal(self) -> Path:
        """Every judged row."""
        return self.processed / f"dataset_{self.tag}.journal.jsonl"

    @property
    def clean(self) -> Path:
        return self.processed / f"dataset_{self.tag}_clean.jsonl"

    @property
    def qa_report(self) -> Path:
        return qa_report(self.clean)

    @property
    def splits(self) -> Path:
        return self.processed / "splits" / self.tag

    @property
    def sft(self) -> Path:
        return self.processed / "sft" / self.tag

    @property
    def report(self) -> Path:
        """The page."""
        name = "report" if self.tag == "v1" else f"report_{self.tag}"
        return self.processed / f"{name}.html"

    def main(self, stage: str) -> Path:
        """The file that a stage's manifest is named after."""
        return {
            "plan": self.plan,
            "drafts": self.drafts,
            "critiques": self.critiques,
            "dataset": self.dataset,
            "qa": self.clean,
            "split": self.splits / "train.jsonl",
            "sft": self.sft / "train_sft.jsonl",
        }[stage]


def places_of(
    spec_id: str, data: Path, suites: Path, *, sample: bool, dry_run: bool, tag: str
) -> Places:
    """The places of a run. Suites of samples and dry runs stay in their own folders."""
    below = [] if spec_id == FIRST else [spec_id]
    if spec_id in _TAKEN:
        raise UserError(f"A spec cannot have the id {spec_id}: a folder of the pipeline has it.")
    below += [SAMPLE] if sample else []
    below += [DRY_RUN] if dry_run else []
    processed = data.joinpath("processed", *below)
    own = sample or dry_run
    return Places(
        data.joinpath("interim", *below), processed, processed / "suites" if own else suites, tag
    )
