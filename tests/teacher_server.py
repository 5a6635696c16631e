"""A teacher on loopback: a real HTTP server that answers as a script says, and counts.

By itself it drafts, criticises and refines, the same for the same question. `script` may answer
first: a function of the request that gives a Reply, or None for the usual answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PRICE = {"prompt": 1.0, "completion": 2.0}


@dataclass
class Asked:
    """One request: its number from 1, what is in it, and what kind of question it is."""

    number: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def text(self) -> str:
        """All messages."""
        return "\n".join(message["content"] for message in self.body["messages"])

    @property
    def model(self) -> str:
        return str(self.body["model"])

    @property
    def kind(self) -> str:
        """draft, critique or refine."""
        if self.text.startswith("You review answers"):
            return "critique"
        return "refine" if "is to be mended" in self.text else "draft"

    @property
    def chance(self) -> int:
        """A number from 0 to 99 that follows from the question's own words."""
        found = re.search(r"question number (\d+)", self.text)
        digest = hashlib.sha256((found[0] if found else self.text).encode()).digest()
        return digest[0] * 100 // 256


@dataclass
class Reply:
    """What goes back. `stall`: nothing does, until the server closes. `cut`: half of it does."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stall: bool = False
    cut: bool = False

    @property
    def raw(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode()


def answer(text: str | None, *, finish: str = "stop", cost: float | None = None) -> dict[str, Any]:
    """A chat completion."""
    usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": 50}
    if cost is not None:
        usage["cost"] = cost
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "x", "provider": "loopback", "choices": [choice], "usage": usage}


def error(code: int, message: str = "so it is", **more: Any) -> dict[str, Any]:
    """An error's body."""
    return {"error": {"code": code, "message": message, **more}}


def envelope(title: str, **changed: Any) -> dict[str, Any]:
    """A valid answer."""
    found = {
        "summary": title,
        "assumptions": [],
        "uncertainty_notes": "prices change",
        "next_steps": ["pack"],
        "verification_steps": [],
        "payload_type": "checklist",
        "payload": {
            "title": title,
            "groups": [{"name": "first", "items": [{"text": "water", "priority": "must"}]}],
        },
    }
    return {**found, **changed}


def critique(verdict: str, severity: str | None = None) -> dict[str, Any]:
    """A valid critique."""
    issues = [{"type": "clarity", "severity": severity, "message": "vague"}] if severity else []
    scores = {"actionability": 4, "clarity": 3, "schema_compliance": 5, "safety_risk": 1}
    risk = {"risk_level": "low", "risky_claims": [], "rationale": "plain"}
    return {
        "verdict": verdict,
        "issues": issues,
        "scores": scores,
        "hallucination": risk,
        "verification": [],
    }


def usual(asked: Asked) -> Reply:
    """About a fifth of the drafts lack a key, two fifths are to be revised, a tenth is rejected."""
    if asked.kind == "critique":
        mended = '"summary":"mended"' in asked.text.replace(" ", "")
        verdict, severity = ("pass", None) if mended or asked.chance < 50 else ("revise", "low")
        if not mended and asked.chance >= 90:
            verdict, severity = "reject", "high"
        return Reply(answer(json.dumps(critique(verdict, severity))))
    if asked.kind == "refine":
        return Reply(answer(json.dumps(envelope("mended"))))
    draft = envelope(f"draft {asked.chance}")
    if asked.chance % 5 == 0:
        del draft["next_steps"]
    return Reply(answer(json.dumps(draft)))


class TeacherServer:
    """Use it as a context manager; `url` is its base_url. `asked` are all requests so far."""

    def __init__(self, script: Callable[[Asked], Reply | None] | None = None) -> None:
        self.script = script
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self.keep = True  # False: requests are counted and not kept
        self._count = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                owner._serve(self)

            def log_message(self, *_: Any) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: Any) -> None:
                return  # the other side was killed

        self._http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def count(self) -> int:
        """Requests so far."""
        return self._count

    def kinds(self) -> Counter[str]:
        """Requests by kind."""
        return Counter(asked.kind for asked in self.asked)

    def __enter__(self) -> TeacherServer:
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self._count += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            asked = Asked(self._count, body, {k.lower(): v for k, v in handler.headers.items()})
            if self.keep:
                self.asked.append(asked)
        try:
            reply = (self.script(asked) if self.script else None) or usual(asked)
        finally:
            with self._lock:
                self._at_once -= 1
        self._send(handler, reply)

    def _send(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.stall:
            self._closing.wait(30)
            return
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.raw)))
        handler.end_headers()
        handler.wfile.write(reply.raw[: len(reply.raw) // 2] if reply.cut else reply.raw)
        if reply.cut:
            handler.close_connection = True
