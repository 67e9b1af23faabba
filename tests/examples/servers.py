"""A service of the examples as a process that tests start, kill and start again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import httpx

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    """A port that no process of this machine listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """`python -m MODULE *ARGUMENTS PORT` in `folder`. Each start has the same port and the same store."""

    def __init__(
        self, folder: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._command = [sys.executable, "-W", "error", "-m", module, *arguments, str(self.port)]
        # The interpreter gets the paths of the source tree, so that the project need not be installed.
        paths = os.pathsep.join(str(ROOT / each) for each in ("", "backends", "integrations"))
        self._environment = {**os.environ, "PYTHONPATH": paths, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """What all processes have printed."""
        return (self._folder / "server.log").read_text(encoding="utf-8")

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        while not self._answers():
            assert self._process.poll() is None, self.log
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            httpx.get(self.url)
        except httpx.TransportError:
            return False
        return True

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """End the process as an operator does, and return its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(timeout=60)
        self._process = None
        return status

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
