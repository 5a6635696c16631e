"""What to do next with a run, as the very command."""

from __future__ import annotations

from collections.abc import Sequence

from lorachain.datagen.pipeline.job import Job
from lorachain.datagen.pipeline.places import SAMPLE
from lorachain.datagen.pipeline.run import train_command
from lorachain.datagen.pipeline.status import ASKING, StageStatus, look_at, status_text
from lorachain.paths import shown

SAMPLE_PROMPTS = 3


def status_of(job: Job) -> str:
    """How far the job's run is, and what goes on with it."""
    stages = look_at(job.places)
    return status_text(job.places, stages, next_step(job, stages))


def next_step(job: Job, stages: Sequence[StageStatus]) -> str:
    """The command that does what is not done."""
    places = job.places
    named = {one.name: one for one in stages}
    sample = job.mode == "sample"
    whole = ["--sample", str(named["plan"].rows or job.count)] if sample else ["--full"]
    if named["drafts"].state == "not begun":
        looked = sample or (places.processed / SAMPLE).is_dir()
        return job.command(*(whole if looked else ["--sample", str(SAMPLE_PROMPTS)]))
    if any(named[name].state != "done" for name in ("plan", *ASKING)):
        return job.command(*whole)
    if named["dataset"].of_use == 0:
        return f"no answer was accepted; {shown(places.rejected)} says why"
    if any(one.state != "done" for one in stages):
        return job.command(*(whole if sample else []), "--from", "qa")
    return job.command("--full") if sample else train_command(places)
