"""A real browser for tests: headless Chromium, controlled by its debugging protocol over two pipes."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import waiting_for


def _runs(name: str) -> bool:
    """Whether a program is installed and runs. Ubuntu's chromium-browser without snapd only prints a text and exits."""
    command = [name, "--version"]
    return shutil.which(name) is not None and subprocess.run(command, check=False, capture_output=True).returncode == 0


CHROMIUM = next(filter(_runs, ("chromium", "chromium-browser", "google-chrome")), None)
FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


class Browser:
    """A page of the browser."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = os.fdopen(commands, "wb", 0), os.fdopen(answers, "rb", 0)
        self._rest = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def go(self, address: str) -> None:
        """Open a URL."""
        self._call("Page.navigate", url=address)

    def narrow(self, width: int) -> None:
        """Emulate a telephone with this width in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=True)

    def run(self, script: str) -> Any:
        """Run a script in the page, and return its value."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 120) -> Any:
        """Wait until the value of a script is true, and return it if it is text."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = self.run(f"((value) => typeof value === 'string' ? value : Boolean(value))({script})")
            if value:
                return value
            time.sleep(0.1)
        raise AssertionError(f"never so: {script}\n{self.run('location.href + document.body.innerText')}")

    def save(self, address: str, folder: Path) -> Path:
        """Open a URL that is downloaded, and return the complete file."""
        folder.mkdir()
        self._call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        self.go(address)
        waiting_for(lambda: [path.suffix == ".crdownload" for path in folder.iterdir()] == [False])
        (saved,) = folder.iterdir()
        return saved

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        while True:
            message = self._next()
            if message.get("id") == self._number:
                return message.get("result", {"result": {}})
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"]["text"])

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            part = self._answers.read(1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Run the browser with its own profile until the block ends."""
    (read_commands, commands), (answers, write_answers) = os.pipe(), os.pipe()
    shell = f'exec "$@" 3<&{read_commands} 4>&{write_answers} 2>/dev/null'
    command = ["bash", "-c", shell, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}"]
    process = subprocess.Popen(command, pass_fds=(read_commands, write_answers))
    os.close(read_commands)
    os.close(write_answers)
    try:
        yield Browser(commands, answers)
    finally:
        process.terminate()
        process.wait(30)


def log_in(browser: Browser, address: str, name: str) -> None:
    """Open a URL that leads to the test identity provider, log in, and return to the application."""
    browser.go(address)
    fill_in(browser, name)


def fill_in(browser: Browser, name: str, back: str = "#who-name") -> None:
    """Log in and consent in the pages of the provider, until a page has the element ``back``."""
    send = "document.querySelector('form').requestSubmit(document.querySelector('button[type=submit]'))"
    # A page that is still loading has no login field and no form.
    whole = "location.href.includes('/interaction/') && document.readyState === 'complete'"
    browser.until(f"{whole} && document.querySelector('input[name=login]')")
    browser.run(f"document.querySelector('input[name=login]').value = {json.dumps(name)}")
    browser.run("document.querySelector('input[name=password]').value = 'x'")
    browser.run(send)
    browser.until(f"{whole} && !document.querySelector('input[name=login]')")
    browser.run(send)
    browser.until(f"document.querySelector({json.dumps(back)})")
