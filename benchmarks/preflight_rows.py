"""python benchmarks/preflight_rows.py [--rows 50000 100000] [--output JSON]

How long the look at the rows takes before a training (repeated, contradicting and leaked rows,
near ones too), and its peak resident memory, each size in a process of its own.

Prompts have about 400 and answers about 600 characters, words drawn by Zipf's law. Of 100 rows, 60
are in the training file, 5 in the validation file, 30 in an ancestor's training file and 5 in its
validation file; a suite asks 500 more. Two in five prompts begin with one of 200 instructions of
300 characters; one answer in two is JSON; one row in 25 copies an earlier one of any file, and
every second copy has one word changed. Linux and macOS.
"""

from __future__ import annotations

import json
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

from lorachain import cli
from lorachain.paths import PROJECT_ROOT, from_user
from lorachain.preflight.inputs import Asked, Rows
from lorachain.preflight.rows import row_findings
from lorachain.records import read_training_data

SHARES = {"train": 60, "validation": 5, "ancestor_train": 30, "ancestor_validation": 5}
SUITE = 500
OUTPUT = PROJECT_ROOT / "benchmarks" / "results" / "preflight_rows.json"


def arguments(argv: Sequence[str] | None) -> Any:
    """The flags."""
    p = cli.ArgumentParser(description=__doc__)
    p.add_argument("--rows", type=int, nargs="+", default=[50_000, 100_000], metavar="N")
    p.add_argument("--output", metavar="JSON", default=str(OUTPUT), help="where the figures go")
    p.add_argument("--folder", metavar="DIR", help="look at the rows there, once, and print")
    return p.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Make the rows of each size, look at them, write the table."""
    args = arguments(argv)
    if args.folder:
        print(json.dumps(look(Path(args.folder))))
        return
    sizes = []
    for rows in args.rows:
        with tempfile.TemporaryDirectory() as temporary:
            make(Path(temporary), rows)
            command = [sys.executable, __file__, "--folder", temporary]
            ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        sizes.append({"rows": rows, **json.loads(ran.stdout)})
        print(json.dumps(sizes[-1]), flush=True)
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: version(name) for name in ("datasketch", "numpy", "rapidfuzz")}
        | {"python": platform.python_version()},
        "sizes": sizes,
    }
    from_user(args.output).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def make(folder: Path, rows: int) -> None:
    """Write the four files and the suite."""
    made = prompts_and_answers(rows + SUITE, random.Random(rows))
    for name, share in SHARES.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for _ in range(rows * share // 100):
                prompt, answer = next(made)
                file.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
    items = [next(made)[0] for _ in range(SUITE)]
    (folder / "suite.json").write_text(json.dumps(items), encoding="utf-8")


def prompts_and_answers(rows: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """As the docstring says."""
    letters = "etaoinshrdlucmfwypvbgk"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(20_000)]
    weights = list(accumulate(1 / (i + 1) for i in range(len(words))))

    def text(size: int) -> str:
        return " ".join(rng.choices(words, cum_weights=weights, k=size))

    instructions = [text(46) for _ in range(200)]
    earlier: list[tuple[str, str]] = []
    for _ in range(rows):
        if earlier and rng.random() < 0.04:
            prompt, answer = rng.choice(earlier)
            if rng.random() < 0.5:
                prompt = change_word(prompt, rng)
        else:
            own = rng.random() < 0.6
            prompt = text(62) if own else f"{rng.choice(instructions)}\n\n{text(16)}"
            answer = text(92)
            if rng.random() < 0.5:
                answer = json.dumps({"answer": answer[:300], "why": answer[300:560]})
            if len(earlier) < 20_000:
                earlier.append((prompt, answer))
        yield prompt, answer


def change_word(prompt: str, rng: random.Random) -> str:
    """The prompt with one of its words replaced."""
    words = prompt.split(" ")
    words[rng.randrange(len(words))] = "replaced"
    return " ".join(words)


def look(folder: Path) -> dict[str, Any]:
    """Read the files and run the rules on them: seconds, processor seconds, the most memory."""
    began = time.perf_counter()
    counted = time.process_time()
    train, validation, *ancestor = (read_training_data(folder / f"{n}.jsonl") for n in SHARES)
    items = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    suite = Asked("suite", [(f"suite:{i}", text, "") for i, text in enumerate(items)])
    read = time.perf_counter()
    rows = Rows(train, validation, [suite], {"V1": ancestor[:1]}, {"V1": ancestor[1:]})
    findings = list(row_findings(rows, progress=False))
    ended = time.perf_counter()
    named: Counter[str] = Counter()
    for finding in findings:
        named[finding.code] += len(finding.where)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return {
        "seconds_to_read": round(read - began, 2),
        "seconds": round(ended - read, 2),
        "cpu_seconds": round(time.process_time() - counted, 2),  # of both
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20),
        "named_rows": dict(named),
    }


if __name__ == "__main__":
    cli.run(main)
