"""Servers as processes of their own: started, asked, stopped and killed by tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import httpx
import msgspec

from tests.postgres.server import free_port
from tests.repository.tree import ROOT
from tests.services.engine.program import PREFIX, Form

Framework = Literal["fastapi", "fastapi-3", "aiohttp"]
"""With "fastapi-3", uvicorn has three worker processes."""

FRAMEWORKS: tuple[Framework, ...] = ("fastapi", "aiohttp")

PATIENCE = 60.0
"""Seconds until a test gives up waiting."""

_FAULTS = (
    "Exception in ASGI",
    "Error handling",
    "Unhandled exception",
    "Task was destroyed",
    "never retrieved",
    "was never awaited",
    "Unclosed",
)


class Server:
    """A server with the service, as a process. `url` is the service's root."""

    def __init__(self, framework: Framework, form: Form, *, stopping_seconds: int | None = None) -> None:
        self.framework: Framework = framework
        self.form = form
        self.port = free_port()
        self.root = f"http://127.0.0.1:{self.port}"
        self.url = self.root + PREFIX
        self._stopping_seconds = stopping_seconds
        self._log = Path(form.folder) / f"log-{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server. With three worker processes, that of their parent."""
        assert self._process is not None
        return self._process.pid

    @property
    def children(self) -> list[int]:
        """The processes of the running server that handle requests."""
        if self.framework != "fastapi-3":
            return [self.pid]
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        # One of them tracks the resources of multiprocessing.
        commands = {int(child): Path(f"/proc/{child}/cmdline").read_text() for child in found}
        return [child for child, command in commands.items() if "resource_tracker" not in command]

    @property
    def log(self) -> str:
        """What the server has printed."""
        return self._log.read_text() if self._log.exists() else ""

    def begin(self) -> None:
        """Start the process."""
        command = [sys.executable]
        if self.framework == "aiohttp":
            command += ["-m", "tests.services.engine.program", str(self.port)]
        else:
            command += ["-m", "uvicorn", "tests.services.engine.program:fastapi_app", "--factory"]
            command += ["--port", str(self.port), "--log-level", "warning"]
            # A client that reuses an idle connection when the server closes it gets an error. Both wait five seconds.
            command += ["--timeout-keep-alive", "60"]
            command += ["--workers", "3"] if self.framework == "fastapi-3" else []
            if self._stopping_seconds is not None:
                command += ["--timeout-graceful-shutdown", str(self._stopping_seconds)]
        paths = os.pathsep.join(str(ROOT / each) for each in ("", "backends", "integrations"))
        form = msgspec.json.encode(self.form).decode()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": paths, "SERVICE_FORM": form},
                cwd=self.form.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until the server answers."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ok", timeout=5).status_code == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError(self.log)

    def start(self) -> "Server":
        """Start the process, and wait until it answers."""
        self.begin()
        self.wait_until_ready()
        return self

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def stop(self) -> int:
        """Send SIGTERM, and wait for the end of the process. Returns its exit code."""
        self.send(signal.SIGTERM)
        assert self._process is not None
        # Less than the time that the frameworks' servers wait for open connections.
        return self._process.wait(PATIENCE / 2)

    def kill(self) -> None:
        """Kill all processes of the server."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)

    def check_log(self) -> None:
        """No fault was logged."""
        assert not [line for line in self.log.splitlines() if any(fault in line for fault in _FAULTS)], self.log


@contextmanager
def served(framework: Framework, form: Form, *, stopping_seconds: int | None = None) -> Iterator[Server]:
    """A running server. At the end of the block it is killed, and its log has no fault."""
    server = Server(framework, form, stopping_seconds=stopping_seconds)
    try:
        yield server.start()
    finally:
        server.kill()
    server.check_log()


def notes(folder: str | Path) -> list[str]:
    """What the routes and nodes of all processes have noted."""
    path = Path(folder) / "notes"
    return path.read_text().splitlines() if path.exists() else []
