"""A program with an `App`, as a file in a folder of its own, and commands on its store."""

import asyncio
import importlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from durable_graph.operating.commands import run
from durable_graph.runs import App
from tests.repository.tree import ROOT

T = TypeVar("T")

STORE = "sqlite:///shop.db"
SHOP = '''
import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from durable_graph import START, Command, StateGraph, interrupt, receive, sleep
from durable_graph.runs import App


@dataclass
class Question:
    text: str
    sum: int


class Order(TypedDict, total=False):
    sum: int
    log: str


async def reserve(order: Order) -> Order:
    return {"log": "reserved"}


async def approve(order: Order) -> Order:
    return {"log": interrupt(Question("Pay?", order["sum"]))}


async def rest(order: Order) -> Order:
    await sleep(timedelta(days=3))
    return {"log": "rested"}


async def listen(order: Order) -> Order:
    return {"log": await receive("parcel")}


async def postpone(order: Order) -> Command:
    return Command(goto="reserve", after=timedelta(days=3))


async def fail(order: Order) -> Order:
    raise ValueError("no \\x1b[31m paper")


async def pack(order: Order) -> Order:
    """Ends once the file `released` exists."""
    Path("began").touch()
    while not Path("released").exists():
        await asyncio.sleep(0.01)
    return {"log": "packed"}


async def hang(order: Order) -> Order:
    Path("began").touch()
    await asyncio.Event().wait()


async def block(order: Order) -> Order:
    """Blocks the event loop."""
    Path("began").touch()
    while not Path("released").exists():
        time.sleep(0.01)
    return {"log": "blocked"}


def chain(*nodes):
    builder, before = StateGraph(Order), START
    for node in nodes:
        builder.add_node(node.__name__, node).add_edge(before, node.__name__)
        before = node.__name__
    return builder.compile(types=[Question])


GRAPHS = {
    "order": chain(reserve, approve),
    "print": chain(reserve, fail),
    "pack": chain(pack, reserve),
    "hang": chain(reserve, hang),
    "block": chain(block),
    "rest": chain(rest),
    "listen": chain(listen),
    "later": StateGraph(Order)
    .add_node("postpone", postpone, destinations=("reserve",))
    .add_node("reserve", reserve)
    .add_edge(START, "postpone")
    .compile(),
}
app = App(GRAPHS, store="sqlite:///shop.db")
'''


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The printed lines."""
        return self.out.splitlines()


Operate = Callable[..., Ended]


@dataclass(frozen=True)
class Shop:
    """The program `shop` in the working directory."""

    folder: Path

    def call(self, function: Callable[[App], Awaitable[T]]) -> T:
        """What the function makes of the program's `App`. Then the program is no longer imported."""
        app: App = importlib.import_module("shop").app

        async def main() -> T:
            async with app:
                return await function(app)

        try:
            return asyncio.run(main())
        finally:
            del sys.modules["shop"]

    def start(self, graph: str, thread: str, order: dict[str, Any] | None = None) -> str:
        """The id of a run that the program has started."""

        async def start(app: App) -> str:
            return (await app.start(graph, order or {"sum": 240}, thread_id=thread)).run_id

        return self.call(start)

    def work(self, *states: str) -> list[str]:
        """Execute runs until all of them have one of these states. Returns the states, in the order of the threads."""

        async def work(app: App) -> list[str]:
            async with app.worker(), asyncio.timeout(60):
                while True:
                    found: list[str] = [each.state for each in await app.runs()]
                    if set(found) <= set(states):
                        return found
                    await asyncio.sleep(0.01)

        return self.call(work)

    def status(self, run_id: str) -> Any:
        """The status of a run."""

        async def read(app: App) -> Any:
            return await (await app.find(run_id)).status()

        return self.call(read)

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin `python -m durable_graph` with these arguments, as a process."""
        paths = [str(ROOT / folder) for folder in ("", "backends", "integrations")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-W", "error", "-m", "durable_graph", *arguments]
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The program, which can be imported for the time of the test."""
    (tmp_path / "shop.py").write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("DURABLE_GRAPH_STORE", raising=False)
    yield Shop(tmp_path)
    sys.modules.pop("shop", None)


@pytest.fixture
def operate(capsys: pytest.CaptureFixture[str]) -> Operate:
    """`operate("runs", "--store", STORE)` runs a command in this process."""

    def operate(*arguments: str) -> Ended:
        capsys.readouterr()
        code = run(arguments)
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return operate
