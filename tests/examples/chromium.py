"""A headless Chromium that a test drives, over the HTTP protocol of ChromeDriver (WebDriver, a W3C standard)."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.examples.servers import free_port

INSTALL = "apt-get install chromium chromium-driver"

# The browser has no sandbox, because tests also run as root, and looks for no host of its maker.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1440,1000",
]

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_SECONDS = 60.0


def program(name: str) -> str:
    """The path of an installed program. Fails with the command to install it."""
    found = shutil.which(name)
    assert found is not None, f"There is no {name} on this machine. Install it: {INSTALL}"
    return found


class Browser:
    """One page of a new browser, with an empty profile in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._session = ""
        self._driver: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        driver, chromium, port = program("chromedriver"), program("chromium"), free_port()
        with (self._folder / "chromedriver.log").open("wb") as log:
            self._driver = subprocess.Popen([driver, f"--port={port}"], stdout=log, stderr=log)
        self._session = f"http://127.0.0.1:{port}"
        self._wait_for_driver()
        options = {"args": [*FLAGS, f"--user-data-dir={self._folder / 'profile'}"], "binary": chromium}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session += f"/session/{made['sessionId']}"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._driver is not None
        try:
            self._call("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(timeout=30)

    def _wait_for_driver(self) -> None:
        while True:
            try:
                self._call("GET", "/status")
            except urllib.error.URLError:
                assert self._driver is not None
                assert self._driver.poll() is None, (self._folder / "chromedriver.log").read_text()
                time.sleep(0.05)
            else:
                return

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._session + path, data, method=method)  # noqa: S310  # http of this machine
        try:
            with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310  # as above
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from error

    def open(self, url: str) -> None:
        """Go to the URL."""
        self._call("POST", "/url", {"url": url})

    def reload(self) -> None:
        """Load the page again."""
        self._call("POST", "/refresh")

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def script(self, code: str, *args: object) -> Any:
        """What the function body returns, run in the page."""
        return self._call("POST", "/execute/sync", {"script": code, "args": list(args)})

    def _element(self, css: str) -> str:
        found: str = self._call("POST", "/element", {"using": "css selector", "value": css})[_ELEMENT]
        return found

    def click(self, css: str) -> None:
        """Click as a person does: the element has to be visible and not covered."""
        self._call("POST", f"/element/{self._element(css)}/click")

    def type(self, css: str, text: str) -> None:
        """Replace the text of a field."""
        element = self._element(css)
        self._call("POST", f"/element/{element}/clear")
        self._call("POST", f"/element/{element}/value", {"text": text})

    def label(self, css: str) -> str:
        """The name of an element as a screen reader says it."""
        name: str = self._call("GET", f"/element/{self._element(css)}/computedlabel")
        return name

    def press(self, keys: str) -> None:
        """Press keys, one after the other, where the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def text(self, css: str) -> str:
        """The visible text of an element."""
        shown: str = self._call("GET", f"/element/{self._element(css)}/text")
        return shown

    def wait(self, condition: str, *args: object) -> Any:
        """Wait until the expression is true in the page, and return its value."""
        end = time.monotonic() + _SECONDS
        while not (value := self.script(f"return {condition}", *args)):
            assert time.monotonic() < end, f"{condition} is still false; the page shows:\n{self.text('body')}"
            time.sleep(0.05)
        return value

    def log(self) -> list[dict[str, Any]]:
        """The entries of the console since the last call."""
        entries: list[dict[str, Any]] = self._call("POST", "/se/log", {"type": "browser"})
        return entries

    def screenshot(self, path: Path) -> None:
        """Write the window as a PNG file."""
        path.write_bytes(base64.b64decode(self._call("GET", "/screenshot")))
