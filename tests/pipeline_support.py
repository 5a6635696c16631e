"""The whole pipeline in a folder of a test's own, with a teacher that knows every payload type."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from datagen_rows_support import envelope as whole_answer
from datagen_support import Ran, clean_environment, settings
from in_process import run_main
from teacher_server import PRICE, Asked, Reply, TeacherServer, answer, critique

from lorachain.paths import PROJECT_ROOT

SCRIPT = PROJECT_ROOT / "src" / "data" / "run_pipeline.py"
PRICES = {"first": PRICE, "second": PRICE}
KITS: dict[str, Any] = {
    "id": "kits_v1",
    "count": 12,
    "schema": "envelope",
    "system": "You pack bags.",
    "categories": ["city", "mountain", "sea"],
    "difficulties": {"easy": 2, "hard": 1},
    "tasks": {
        "pack": {
            "payload_type": "checklist",
            "prompts": ["What does {{ who }} pack for {{ days }} days of {{ what }}, {{ when }}?"],
        },
        "fix": {
            "payload_type": "procedure",
            "prompts": ["{{ who }}, {{ when }}, {{ days }} days into {{ what }}: the strap broke."],
        },
    },
    "slots": {
        "who": ["a nurse on leave", "two cellists", "my deaf uncle", "a class of nine", "a welder"],
        "what": ["cycling", "sailing lessons", "bird counting", "caving", "choir practice"],
        "when": ["in thick fog", "during a heat wave", "right after a strike", "at carnival"],
        "days": {"range": [2, 29]},
    },
}


def capable(asked: Asked) -> Reply:
    """Answers every payload type. By the prompt's own words a tenth is rejected, a fifth mended."""
    if asked.kind == "critique":
        mended = '"summary":"mended"' in asked.text.replace(" ", "")
        chance = 0 if mended else _chance(asked)
        verdict, severity = ("reject", "high") if chance >= 90 else ("pass", None)
        if 70 <= chance < 90:
            verdict, severity = "revise", "medium"
        return Reply(answer(json.dumps(critique(verdict, severity))))
    kinds = re.findall(
        r'payload_type"?: ?"?(itinerary|checklist|decision_tree|procedure)', asked.text
    )
    found = whole_answer(kinds[-1] if kinds else "checklist")
    found["summary"] = "mended" if asked.kind == "refine" else f"draft {_chance(asked)}"
    return Reply(answer(json.dumps(found)))


def _chance(asked: Asked) -> int:
    """From 0 to 99, by the question alone."""
    found = re.search(r"<question>\n(.*?)\n</question>", asked.text, re.DOTALL)
    words = found[1] if found else asked.body["messages"][-1]["content"]
    return sum(map(ord, words)) * 7 % 100


@dataclass
class Pipeline:
    """A folder with a spec, a teacher's config, and data, suites and models of its own."""

    folder: Path
    server: TeacherServer

    def __post_init__(self) -> None:
        for name in ("suites", "models"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.write_spec(KITS)
        self.configure()

    @property
    def home(self) -> Path:
        """data/processed/ of the spec."""
        return self.folder / "data" / "processed" / "kits_v1"

    @property
    def interim(self) -> Path:
        return self.folder / "data" / "interim" / "kits_v1"

    def write_spec(self, spec: Mapping[str, Any], **changes: Any) -> None:
        """Another spec, in the same file."""
        text = yaml.safe_dump(dict(spec) | changes, sort_keys=False)
        (self.folder / "spec.yaml").write_text(text, encoding="utf-8")

    def configure(self, **changed: Any) -> None:
        """Write the teacher's config."""
        values = settings(self.server.url, self.folder / "store", **({"prices": PRICES} | changed))
        (self.folder / "teacher.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")

    def command(self, *flags: str) -> list[str]:
        """The command line."""
        argv = [sys.executable, str(SCRIPT), "--config", str(self.folder / "teacher.yaml")]
        if "--spec" not in flags:
            argv += ["--spec", str(self.folder / "spec.yaml")]
        for name in ("data", "suites", "models"):
            argv += [f"--{name}", str(self.folder / name)]
        return [*argv, *flags]

    def start(
        self, *flags: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start it."""
        return subprocess.Popen(
            self.command(*flags),
            cwd=self.folder,
            env=clean_environment(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *flags: str, environment: Mapping[str, str] | None = None) -> Ran:
        """Run it to its end in this process, which has what it imports already."""
        argv = self.command(*flags)[2:]
        return Ran(*run_main(SCRIPT, argv, self.folder, clean_environment(environment)))

    def spawn(self, *flags: str, environment: Mapping[str, str] | None = None) -> Ran:
        """The same in a process of its own."""
        process = self.start(*flags, environment=environment)
        out, err = process.communicate(timeout=300)
        return Ran(process.returncode, out, err)

    def done(self, *flags: str) -> str:
        """Run it to a good end; what it printed."""
        ran = self.run(*flags)
        assert ran.code == 0, ran.err
        return ran.out

    def files(self) -> dict[str, bytes]:
        """All rows, counts and suites, but not what holds times or costs of runs."""
        found = [
            path
            for name in ("data", "suites")
            for path in sorted((self.folder / name).rglob("*.js*"))
            if not path.name.endswith(".manifest.json")
        ]
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}
