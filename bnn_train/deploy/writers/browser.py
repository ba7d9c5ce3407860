"""A Chromium without a window, spoken to over two pipes (the DevTools protocol): what a page gives is what a browser computed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from bnn_train.errors import ConfigError

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
_OF_MACOS = ("Google Chrome", "Chromium", "Microsoft Edge")
_PATIENCE = 300.0  # seconds for an answer: a browser that hangs must not keep an export waiting for ever


def find() -> str | None:
    """The program, where one is installed. (Windows hands no pipes to a program.)"""
    if os.name != "posix":
        return None
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None and sys.platform == "darwin":
        programs = (f"/Applications/{name}.app/Contents/MacOS/{name}" for name in _OF_MACOS)
        found = next((program for program in programs if os.path.exists(program)), None)
    return found


class NoAnswer(ConfigError):
    """A browser that does not start here, or has ended."""


class Browser:
    """A page open in a browser: `with Browser(program, path) as browser`. Nothing is written but in a folder of its own."""

    def __init__(self, program: str, path: Path) -> None:
        self._program, self._url = program, path.absolute().as_uri()
        self._number = 0
        self.version = ""
        self._rest = b""  # of what was read, the beginning of the next message

    def __enter__(self) -> "Browser":
        self._folder = tempfile.TemporaryDirectory(prefix="bnn-train-", ignore_cleanup_errors=True)
        line = [self._program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={self._folder.name}"]
        line += ["--no-first-run", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
        line += ["--no-sandbox"] if os.geteuid() == 0 else []  # its sandbox refuses to start for root
        # It reads commands from its file 3 and writes answers to its 4: a shell puts the two pipes there.
        shell = ["sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", *line, "about:blank"]
        self._process = subprocess.Popen(
            shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self._session: str | None = None
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the browser."""
        with suppress(BrokenPipeError):
            self._to.close()  # the end of its input is the end of it
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        self._from.close()
        self._folder.cleanup()

    def _open(self) -> None:
        self.version = self.send("Browser.getVersion")["product"].replace("Headless", "").partition(".")[0].replace("/", " ")
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Page.navigate", url=self._url)
        self.evaluate("new Promise((done) => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; of a promise when it is kept."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise ConfigError("page", self._url, details.get("exception", {}).get("description", details.get("text")))
        return answer["result"].get("value")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        content = json.dumps(message).encode("utf-8") + b"\0"
        try:
            self._to.write(content)
            self._to.flush()
        except BrokenPipeError:
            raise self._gone() from None
        answer = self._answer(self._number)
        if "error" in answer:
            raise ConfigError("browser", self._program, f"{method}: {answer['error'].get('message')}")
        return dict(answer["result"])

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its helpers too: the group has its number

    def _answer(self, number: int) -> dict[str, Any]:
        timer = threading.Timer(_PATIENCE, self._kill)
        timer.start()
        try:
            while True:
                message = json.loads(self._message())
                if message.get("id") == number:  # others are events
                    return dict(message)
        finally:
            timer.cancel()

    def _message(self) -> bytes:
        found = bytearray()
        while True:
            part = os.read(self._from.fileno(), 2**16) if not self._rest else self._rest
            self._rest = b""
            if not part:
                raise self._gone()
            head, end, rest = part.partition(b"\0")
            found += head
            if end:
                self._rest = rest
                return bytes(found)

    def _gone(self) -> NoAnswer:
        return NoAnswer("browser", self._program, "does not start, or has ended before it had answered")
