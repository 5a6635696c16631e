"""python scripts/make_sample_data.py

Builds the sample data of three generations from real, licence-clean facts: training and validation
rows in data/processed/, frozen suites in eval/suites/. The repository ships what this writes; only
somebody who changes the sample data needs to run it, and needs the packages that hold the facts:

    python -m pip install -r requirements-sample-data.txt
    python -m pip download --no-deps --no-binary :all: --dest data/interim/sources \\
        vaderSentiment==3.3.2

What is taken from where, and under which licence, stands in data/SOURCES.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lorachain.cli import ArgumentParser, run

ROOT = Path(__file__).resolve().parent.parent


def arguments(argv: Sequence[str] | None) -> tuple[Path, Path, bool]:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sources",
        type=Path,
        default=ROOT / "data" / "interim" / "sources",
        help="folder with the downloaded vaderSentiment archive (default: data/interim/sources)",
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT, help="project folder to write into (default: this one)"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; say which files would change, exit 1"
    )
    given = parser.parse_args(argv)
    return given.sources, given.output, given.check


def main(argv: Sequence[str] | None = None) -> int:
    sources, output, check = arguments(argv)
    from lorachain.sampledata import build, verify

    texts = build.files(sources)
    rows = {path: [json.loads(line) for line in text.splitlines()] for path, text in texts.items()}
    faults = verify.problems(rows, ROOT / "configs" / "schemas")
    if faults:
        raise RuntimeError("The sample data is wrong:\n" + "\n".join(faults[:20]))
    if check:
        changed = [path for path, text in texts.items() if not same(output / path, text)]
        print("\n".join(f"would change: {path}" for path in changed) or "Nothing would change.")
        return 1 if changed else 0
    build.write(texts, output)
    for path, of_file in rows.items():
        print(f"{path}: {len(of_file)} rows, {len(texts[path].encode()) / 1000:.0f} kB")
    return 0


def same(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


if __name__ == "__main__":
    run(main)
