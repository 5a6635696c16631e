"""What goes wrong in a set-up, in sentences that say what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

VC_REDISTRIBUTABLE = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
TAIL_LINES = 12


class SetupError(Exception):
    """One sentence on what failed and what to do, with the failed command's last lines, if any."""

    def __init__(self, sentence: str, output: Sequence[str] = (), log: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.tail = [line for line in output if line.strip()][-TAIL_LINES:]
        self.log = log

    def __str__(self) -> str:
        lines = ["Error: " + self.sentence]
        if self.tail:
            lines.append("The last lines of its output:")
            lines.extend("    " + line for line in self.tail)
        if self.log:
            lines.append(f"The whole output: {self.log}")
        return "\n".join(lines)


# The first pattern that is found wins, so a cause stands before its consequences: pip reports a
# refused certificate as a failed connection, and a failed connection as "no matching distribution".
# Windows translates its messages but not the numbers in them, so numbers are matched.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"No space left on device|Errno 28|Errno 122|Disk quota exceeded|WinError (112|39)\b",
        "The disk is full: free some space on it (`pip cache purge` gives back pip's downloads), "
        "then run the same command again.",
    ),
    (
        r"WinError 206|Windows Long Path support|[Ff]ile ?name too long|Errno 36|Errno 63",
        "A path is too long: move this folder to a short path (such as C:\\lorachain), or enable "
        "Windows long paths (https://pip.pypa.io/warnings/enable-long-paths), then run the same "
        "command again.",
    ),
    (
        r"WinError 32\b",
        "A file of the environment is in use: close the programs that use it (terminals, editors, "
        "a running training), then run the same command again.",
    ),
    (
        # setuptools writes the path of an editable install in the code page of Windows
        r"UnicodeEncodeError|codec can't encode",
        "This folder's path has letters that this computer's language setting cannot write: move "
        "the folder to a path in plain letters, then run the same command again.",
    ),
    (
        r"DO NOT MATCH THE HASHES|BadZipFile|has an invalid wheel|not a valid zip",
        "A download is damaged: run `pip cache purge`, then run the same command again.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "A server's certificate was not accepted: check this computer's date and, behind a company "
        "proxy, name its certificate file with `pip config set global.cert PATH`, then run the "
        "same command again.",
    ),
    (
        r"ProxyError|Cannot connect to proxy|407 Proxy Authentication|dependencies for SOCKS",
        "The proxy was not reached or refused the connection: check the environment variables "
        "HTTP_PROXY and HTTPS_PROXY and `pip config get global.proxy`, then run the same command "
        "again.",
    ),
    (
        r"\b40[13] (Client )?Error|401 Unauthorized|403 Forbidden|User for .*Password:",
        "The package index refused access: check the address and the credentials that "
        "`pip config list` shows, then run the same command again.",
    ),
    (
        r"NewConnectionError|Failed to establish a new connection|Temporary failure in name"
        r"|getaddrinfo failed|NameResolutionError|Name or service not known|Network is unreachable"
        r"|[Rr]ead timed out|ReadTimeoutError|ConnectTimeout|Connection ?([Aa]borted|[Rr]eset)"
        r"|Connection ?[Rr]efused|Max retries exceeded|IncompleteRead|RemoteDisconnected"
        r"|WinError 1(0053|0054|0060|1001)",
        "The package index was not reached: check the network connection (behind a proxy, set "
        "HTTPS_PROXY), then run the same command again, which goes on from what is installed.",
    ),
    (
        r"ensurepip is not available|No module named '?(venv|ensurepip)|python3-venv",
        "This Python has no venv module: install it (on Debian and Ubuntu: `sudo apt install "
        "python3-venv`, or python3.XX-venv for your version), then run the same command again.",
    ),
    (
        r"Permission denied|Errno 13\b|Errno 1\]|WinError 5\b|Read-only file system|Errno 30\b",
        "Writing was not permitted: put this folder where you may write (not under Program Files "
        "or another user's folder), close programs that use it, then run the same command again.",
    ),
    (
        r"externally-managed-environment",
        "This Python is managed by the system: run the same command with another one.",
    ),
    (
        r"ResolutionImpossible|Could not find a version that satisfies|No matching distribution"
        r"|is not a supported wheel on this platform",
        "The package index has not what requirements*.txt and constraints.txt ask for, for this "
        "Python and machine: undo changes to these files, check the network connection and the "
        "index that `pip config list` shows, then run the same command again.",
    ),
    (
        r"MemoryError|Cannot allocate memory|Errno 12\b|WinError (8|14|1455)\b",
        "The memory ran out: close other programs, then run the same command again.",
    ),
)


def explain(output: str) -> str | None:
    """The sentence for the first known cause in a command's output; None where none is known."""
    for pattern, sentence in _CAUSES:
        if re.search(pattern, output):
            return sentence
    return None


def explain_import(output: str) -> str:
    """The sentence for an `import torch` that failed."""
    return known_import_failure(output) or (
        "torch is installed but cannot be imported: run `python scripts/setup_env.py --recreate`; "
        "if that does not help, report the output below."
    )


def known_import_failure(output: str) -> str | None:
    """The same, where the cause is known."""
    if re.search(r"WinError (126|127|1114)\b|DLL load failed", output):
        return (
            "torch is installed but a system library that it needs is missing or too old: install "
            f"the Microsoft Visual C++ Redistributable ({VC_REDISTRIBUTABLE}), restart, then run "
            "the same command again."
        )
    if "No module named 'torch'" in output:
        return "torch is not there after its installation: run the same command with --recreate."
    return explain(output)
