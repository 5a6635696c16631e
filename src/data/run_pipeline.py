"""python src/data/run_pipeline.py --sample 3 | --batch 20 | --full | --from STAGE | --status

From a spec to training rows in one command: plan, drafts, critiques, dataset, qa, split, sft. What
stops it, the same command goes on from; answers that were paid for are not paid for again. A sample
has folders of its own (data/interim/sample, data/processed/sample). A batch makes the next prompts
and stops before the split until all are made.

  python src/data/run_pipeline.py --full --price
  python src/data/run_pipeline.py --full --max-usd 5
  python src/data/run_pipeline.py --full --from-failures eval/comparisons/fine_tuned_v2
"""

from __future__ import annotations

from collections.abc import Sequence

from lorachain import cli
from lorachain.datagen.pipeline.flags import add_flags, job_of


def main(argv: Sequence[str] | None = None) -> None:
    """Run the pipeline, or say how far it is, or what it would cost."""
    parser = cli.ArgumentParser(description=__doc__)
    add_flags(parser)
    args = parser.parse_args(argv)
    job = job_of(parser, args)
    if args.status:
        from lorachain.datagen.pipeline.next_step import status_of

        print(status_of(job))
    elif args.price:
        from lorachain.datagen.pipeline.price import price_of_run

        print(price_of_run(job))
    else:
        from lorachain.datagen.pipeline.run import run_pipeline

        print(run_pipeline(job))


if __name__ == "__main__":
    cli.run(main)
