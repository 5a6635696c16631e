"""Headless Chromium over the DevTools protocol, through a pipe: no driver, no port, no package.

with Browser() as browser:
    page = browser.open(path)
    page.run("document.title")
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb"),
)
# Chromium reads from handle 3 and writes to 4; they are put there after the fork, where neither
# pytest nor another pipe holds them.
START = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for there, pipe in zip((3, 4), pipes):
    os.dup2(pipe, there)
os.execv(sys.argv[3], sys.argv[3:])
"""
WAIT = 60.0  # seconds for one answer; a busy machine is slow, a dead browser never answers


def find_chromium() -> str | None:
    """The browser's path, where there is one that a pipe can be given to."""
    if os.name == "nt":
        return None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class BrowserError(Exception):
    """The browser refused a command, or a script threw."""


class Browser:
    """One headless Chromium with a profile of its own."""

    def __enter__(self) -> Browser:
        chromium = find_chromium()
        assert chromium is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", START, str(to_read), str(to_write), chromium, *flags],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(to_read)
        os.close(to_write)
        os.set_blocking(self._read, False)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, BrowserError):
            self.send("Browser.close")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            with suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        self._profile.cleanup()

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One command and its result. Events that come meanwhile are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") != self._number:
                self.events.append(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error']['message']}")
            else:
                return dict(answer["result"])

    def wait_for(self, method: str) -> dict[str, Any]:
        """The next event of this name, or one that is there already."""
        while True:
            for i, event in enumerate(self.events):
                if event.get("method") == method:
                    return self.events.pop(i)
            self.events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + WAIT
        while b"\0" not in self._buffer:
            try:
                found = os.read(self._read, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
                found = None
            if found == b"":
                raise BrowserError("the browser is gone")
            if time.monotonic() > end:
                raise BrowserError("the browser does not answer")
            self._buffer += found or b""
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, path: Path, width: int = 1280, height: int = 900, theme: str = "light") -> Page:
        """A page from a file, loaded, in a tab of its own."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.send(f"{domain}.enable")
        page.resize(width, height)
        page.emulate(theme)
        self.events.clear()
        page.send("Page.navigate", url=path.resolve().as_uri())
        self.wait_for_load()
        return page

    def wait_for_load(self) -> None:
        """Until the page says that it is loaded; what else happened is kept."""
        kept: list[dict[str, Any]] = []
        while True:
            event = self.events.pop(0) if self.events else self._receive()
            kept.append(event)
            if event.get("method") == "Page.loadEventFired":
                self.events = kept + self.events
                return


class Page:
    """One tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self._session, self._target = browser, session, target

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command to this tab."""
        return self.browser.send(method, self._session, **params)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are waited for."""
        found = self.send(
            *("Runtime.evaluate",),
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Its value as soon as it is true."""
        end = time.monotonic() + WAIT
        while not (value := self.run(script)):
            if time.monotonic() > end:
                raise BrowserError(f"never true: {script}")
            time.sleep(0.02)
        return value

    def key(self, key: str) -> None:
        """Press and release a key: a character, or a name such as ArrowLeft."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def resize(self, width: int, height: int) -> None:
        """The size of the window; below 500 wide it is a phone."""
        phone = width < 500
        self.send(
            *("Emulation.setDeviceMetricsOverride",),
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def emulate(self, theme: str = "light", media: str = "") -> None:
        """What the system asks for: light or dark, screen or print."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the whole page, or of what the window shows."""
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        """The page as it prints."""
        found = self.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)
        return base64.b64decode(found["data"])

    def complaints(self) -> list[str]:
        """What the console holds: errors, warnings, refused styles and scripts."""
        self.run("0")
        found = []
        for event in self.browser.events:
            method, params = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"]["text"])
            elif method == "Log.entryAdded":
                found.append(params["entry"]["text"])
            elif method == "Runtime.consoleAPICalled":
                found.append(str(params["args"]))
        return found

    def requests(self) -> list[str]:
        """The addresses that the page asked for, itself included."""
        return [
            str(event["params"]["request"]["url"])
            for event in self.browser.events
            if event.get("method") == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        """Close the tab."""
        self.browser.send("Target.closeTarget", targetId=self._target)


@contextmanager
def opened(path: Path, **how: Any) -> Iterator[Page]:
    """A page in a browser of its own."""
    with Browser() as browser:
        yield browser.open(path, **how)


def take_picture(path: Path, picture: Path, width: int, theme: str) -> None:
    """A page as a PNG, all of it."""
    with opened(path, width=width, height=900, theme=theme) as page:
        height = page.run("document.documentElement.scrollHeight")
        page.resize(width, min(int(height), 12000))
        page.picture(picture, whole=False)
