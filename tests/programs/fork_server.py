"""Runs each program in a separate process that does not have to import LangChain again.

`python -m tests.programs.fork_server MODULE ...` imports the modules. It reads programs as lines of JSON from stdin,
and writes an `Ended` for each one.
"""

import gc
import importlib
import json
import os
import runpy
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from tests.programs.recorded import imported_modules
from tests.repository.tree import ROOT

OURS_ON_DEMAND: Final = "durable_graph_langchain"
"""Importing it changes what LangChain's tools do, so a program that does not import it has to run without it."""

LANGCHAIN_ON_DEMAND: Final = ("langchain_core.documents", "langchain_core.tools", "langchain_core.tracers.langchain")
"""The modules of LangChain that a graph imports at its first call. The imports take a fifth of a second."""


class Ended(msgspec.Struct, frozen=True):
    """The output of a process: stdout, and stderr with warnings and the traceback if it failed."""

    printed: str
    stderr: str
    code: int
    """The exit code, 1 after an exception."""

    @property
    def has_failed(self) -> bool:
        return self.code != 0


class ForkServer:
    """Runs programs in sequence."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, source: str) -> Ended:
        """Run the program in a separate process, and return its output."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        print(json.dumps(source), file=to, flush=True)
        return msgspec.json.decode(back.readline(), type=Ended)


@contextmanager
def fork_server(sources: Iterable[str]) -> Iterator[ForkServer]:
    """A server that has imported what these programs import."""
    modules = {module for source in sources for module in imported_modules(source)} - {OURS_ON_DEMAND}
    with fork_server_of({*modules, *LANGCHAIN_ON_DEMAND}) as server:
        yield server


@contextmanager
def fork_server_of(modules: Iterable[str], **variables: str) -> Iterator[ForkServer]:
    """A server that has imported these modules, with variables of the environment."""
    command = [sys.executable, "-m", "tests.programs.fork_server", *sorted(modules)]
    paths = [str(ROOT / folder) for folder in ("", "backends", "integrations")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "LANGSMITH_TRACING": "false", **variables}
    environment.pop("DURABLE_GRAPH_DEBUG", None)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        yield ForkServer(process)


def _run(source: str) -> Ended:
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as error:
        child = os.fork()
        if child == 0:
            _run_child(source, printed, error)
        _, status = os.waitpid(child, 0)
        return Ended(_all_of(printed), _all_of(error), os.waitstatus_to_exitcode(status))


def _run_child(source: str, printed: IO[Any], error: IO[Any]) -> None:
    os.dup2(printed.fileno(), 1)
    os.dup2(error.fileno(), 2)
    code = 1
    try:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            path = Path("program.py")
            path.write_text(source, encoding="utf-8")
            runpy.run_path(str(path), run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # a child must never continue as a second server
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _all_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def serve() -> None:
    """Run programs until stdin ends."""
    answers = os.dup(1)
    for module in sys.argv[1:]:
        importlib.import_module(module)
    # A garbage collection in a child would copy the memory that the children share.
    gc.freeze()
    for line in sys.stdin:
        os.write(answers, msgspec.json.encode(_run(json.loads(line))) + b"\n")


if __name__ == "__main__":
    serve()
