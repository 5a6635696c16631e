"""A small project of stub packages that can be set up with no network."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"

BARE_PYTHON = Path(getattr(sys, "_base_executable", None) or sys.executable)
"""The Python outside of the environment that runs these tests."""

STUB_TORCH = {
    "torch/__init__.py": (
        "import os\nfrom . import cuda, version\n__version__ = version.__version__\n"
        "exec(os.environ.get('STUB_TORCH_RUNS', ''))\n"
        "if 'STUB_TORCH_FAILS' in os.environ:\n    raise OSError(os.environ['STUB_TORCH_FAILS'])\n"
    ),
    "torch/cuda.py": "def is_available():\n    return False\n",
}

STUB_BACKEND = '''
"""A build backend that needs nothing: an editable wheel that holds the path of src."""
import pathlib, zipfile

INFO = "lorachain-0.1.0.dist-info/"

def build_editable(folder, config_settings=None, metadata_directory=None):
    source = pathlib.Path(__file__).resolve().parent / "src"
    path_file = pathlib.Path(folder, "made.pth")
    path_file.write_text(f"{source}\\n", encoding="locale")
    path = pathlib.Path(folder, "lorachain-0.1.0-py3-none-any.whl")
    files = {
        INFO + "METADATA": "Metadata-Version: 2.1\\nName: lorachain\\nVersion: 0.1.0\\n",
        INFO + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = [*files, "lorachain_editable.pth", INFO + "RECORD"]
    files[INFO + "RECORD"] = "".join(f"{name},,\\n" for name in record)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.write(path_file, "lorachain_editable.pth")
        for name, text in files.items():
            wheel.writestr(name, text)
    return path.name
'''


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str], *needs: str) -> None:
    """Write a wheel by hand: its files, and what it needs."""
    info = f"{name}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    everything = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in everything.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode()
        record += f"{path},sha256={digest.rstrip('=')},{len(text.encode())}\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in everything.items():
            wheel.writestr(path, text)
        wheel.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")


def make_torch(folder: Path, version: str, cuda: str | None = None) -> None:
    text = f"__version__ = {version!r}\ncuda = {cuda!r}\n"
    make_wheel(folder, "torch", version, {**STUB_TORCH, "torch/version.py": text})


@dataclass
class Project:
    """A copy of the set-up scripts around a project of stub packages."""

    root: Path
    wheels: Path
    bin: Path
    """The only folder on PATH."""

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def site_packages(self) -> Path:
        if os.name == "nt":
            return self.venv / "Lib" / "site-packages"
        return next(self.venv.glob("lib/python3.*/site-packages"))

    @property
    def log(self) -> Path:
        return self.root / "logs" / "setup.log"

    @property
    def stamp(self) -> dict[str, object]:
        return json.loads((self.venv / "lorachain-setup.json").read_text(encoding="utf-8"))

    def installed(self) -> set[str]:
        ignored = ("pip-", "setuptools-")
        found = {path.name[: -len(".dist-info")] for path in self.site_packages.glob("*.dist-info")}
        return {name for name in found if not name.startswith(ignored)}

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PIP_", "PYTHON"))}
        kept |= {"PATH": str(self.bin), "PIP_CONFIG_FILE": str(self.root / "pip.conf")}
        return kept | more

    def start(
        self, *arguments: str, script: str = "setup_env.py", python: Path = BARE_PYTHON, **more: str
    ) -> subprocess.Popen[str]:
        """Start a script of the project from another folder."""
        return subprocess.Popen(
            [str(python), str(self.root / "scripts" / script), *arguments],
            cwd=self.root.parent,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def run(self, *arguments: str, **more: object) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **more)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def make_project(root: Path, wheels: Path) -> Project:
    for folder in ("scripts", "src/lorachain", "bin"):
        (root / folder).mkdir(parents=True)
    for name in ("setup_env.py", "doctor.py"):
        shutil.copy(SCRIPTS / name, root / "scripts")
    for name in ("setup_parts", "doctor_parts"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SCRIPTS / name, root / "scripts" / name, ignore=ignored)
    files = {
        "src/lorachain/__init__.py": "",
        "requirements.txt": "torch>=2.10\nstubdep>=1\n-e .\n",
        "requirements-dev.txt": "stubdev>=1\n",
        "constraints.txt": "stubdep==1.0\nstubdev==1.0\ntorch==2.13.0\n",
        "backend.py": STUB_BACKEND,
        "pyproject.toml": (
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
            '[project]\nname = "lorachain"\nversion = "0.1.0"\n'
        ),
        "pip.conf": f"[global]\nno-index = true\nfind-links = {wheels.as_uri()}\n",
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    return Project(root, wheels, root / "bin")
