"""Functions that tests run on executors: plain, and importable in every process."""

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_graph import Command, Overwrite, Send, get_stream_writer, interrupt, task


def square(state: Any) -> dict[str, Any]:
    """Its result has the number's square, and the process that computed it."""
    return {"results": [state["n"] ** 2], "pids": [os.getpid()]}


@dataclass
class Point:
    x: int
    y: int


class Unlisted:
    """A class that no state mentions, and that the codec cannot store by itself."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unlisted) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


class ClassifiedError(Exception):
    """Its constructor makes the message, so the default pickle would make it twice."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"code {code}")


class LockedError(Exception):
    """It cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def raise_value_error(state: Any) -> None:
    message = f"no {state['n']}"
    raise ValueError(message)


def raise_classified(state: Any) -> None:
    raise ClassifiedError(7)


def raise_locked(state: Any) -> None:
    message = "the file is locked"
    raise LockedError(message)


def exit_process(state: Any) -> None:
    raise SystemExit(3)


def ask(state: Any) -> None:
    interrupt("allowed?")


def write_to_stream(state: Any) -> None:
    get_stream_writer()


def return_unlisted(state: Any) -> dict[str, Any]:
    return {"anything": [Unlisted("no")]}


def move(state: Any) -> dict[str, Any]:
    point = state["point"]
    return {"point": Point(point.x + 1, point.y)}


def go_on(state: Any) -> Command[Any]:
    return Command(update={"results": Overwrite([1])}, goto=[Send("collect", {"n": 5, "results": []})])


def collect(state: Any) -> dict[str, Any]:
    return {"results": [state["n"]]}


def kill_itself_once(state: Any) -> dict[str, Any]:
    """Its first call in a folder ends its process with SIGKILL."""
    try:
        (Path(state["folder"]) / "killed").touch(exist_ok=False)
    except FileExistsError:
        return {"results": [state["n"]], "pids": [os.getpid()]}
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def kill_itself(state: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait_for_file(state: Any) -> dict[str, Any]:
    """It shows that it runs by the file `running`, and returns once there is a file `go`."""
    folder = Path(state["folder"])
    (folder / "running").touch()
    while not (folder / "go").exists():
        time.sleep(0.002)
    return {"results": [state["n"]]}


def change_argument(state: Any) -> dict[str, Any]:
    state["results"].append(99)
    return {}


async def asynchronous(state: Any) -> dict[str, Any]:
    return {}


class Methods:
    @staticmethod
    def plain(state: Any) -> dict[str, Any]:
        return {}

    def bound(self, state: Any) -> dict[str, Any]:
        return {}


not_a_lambda: Any = lambda state: {}  # noqa: E731  # the subject of a test


def cube(n: int, *, plus: int = 0) -> int:
    return n**3 + plus


@task
def nested(n: int) -> int:
    return n


@dataclass
class Counted:
    """A state with a default that is a list."""

    n: int = 0
    seen: list[int] = field(default_factory=list)


def count(state: Counted) -> dict[str, Any]:
    return {"n": state.n + 1, "seen": [*state.seen, state.n]}


def return_anything(state: Any) -> dict[str, Any]:
    return {"anything": state["anything"][::-1]}


def call_task(state: Any) -> None:
    nested(1)


def fail_once(state: Any) -> dict[str, Any]:
    try:
        (Path(state["folder"]) / "failed").touch(exist_ok=False)
    except FileExistsError:
        return {"results": [1]}
    raise ClassifiedError(1)


def count_calls(state: Any) -> dict[str, Any]:
    (Path(state["folder"]) / "called").touch()
    return {}


class StubbornError(Exception):
    """It is only made in the processes of a pool."""

    def __new__(cls, *args: object) -> "StubbornError":
        if multiprocessing.parent_process() is None:
            message = "not here"
            raise LookupError(message)
        return super().__new__(cls, *args)


def raise_stubborn(state: Any) -> None:
    message = "lost on the way"
    raise StubbornError(message)


def encode_unlisted(value: Unlisted) -> str:
    return value.text


def decode_unlisted(data: Any) -> Unlisted:
    return Unlisted(str(data))


def thread_idents() -> set[int | None]:
    return {thread.ident for thread in threading.enumerate()}


def answer(state: Any) -> dict[str, Any]:
    """It answers the last message of its state, which is LangChain's."""
    from langchain_core.messages import AIMessage

    return {"messages": [AIMessage(f"{state['messages'][-1].content}!")]}


def wait_until_go(folder: str) -> int:
    """The first call creates a file, and returns once its caller has waited for long; the second returns at once."""
    file = Path(folder) / "called"
    if file.exists():
        return 2
    file.touch()
    time.sleep(0.2)
    return 1


def cubed(n: int) -> int:
    return n**3


def cubed_on(executor: Any) -> Any:
    """The function as a task, under whose name the module has the task from then on, as a decorator makes it."""
    made = task(cubed, executor=executor)
    globals()["cubed"] = made
    return made


def fail_late(state: Any) -> None:
    """It fails once its caller has waited for long."""
    (Path(state["folder"]) / "running").touch()
    time.sleep(0.2)
    raise ClassifiedError(8)
