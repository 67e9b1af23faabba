"""Errors of executors: functions that they cannot import, and calls that they did not finish."""

from collections.abc import Iterable
from typing import Final, Literal

from durable_graph.errors.description import GraphValidationError
from durable_graph.errors.tree import DurableGraphError, bounded

_REMEDY: Final = "pass a plain function from the top level of a module that its processes can import"
_LONGEST_WHY: Final = 140


class ExecutorImportError(GraphValidationError):
    """The processes of an executor cannot import a function of a node or a task.

    `function` is the name of the function with its module, `where` the node or task, and `why` the reason. `compile`
    and `@task` raise this error, and so does a call whose process does not have the function.
    """

    def __init__(self, function: str, *, where: str, why: str, problems: Iterable[str] = ()) -> None:
        self.function = function
        self.where = where
        self.why = why
        text = self.text_of(function, where=where, why=why)
        super().__init__(text, kind="graph", problems=problems)

    @staticmethod
    def text_of(function: str, *, where: str, why: str) -> str:
        """The message, which is one of the problems where `compile` found others."""
        return (
            f"{bounded(where, 80)} cannot run {bounded(function, 80)} on an executor: {bounded(why, _LONGEST_WHY)}; "
            f"{_REMEDY}"
        )


class ExecutorFailedError(DurableGraphError):
    """An executor did not finish a call. A retry policy runs it again, by default.

    `where` is the node or task. `kind` is "lost" if the executor accepted the call and lost it, for example because
    its process ended; "refused" if it accepts no calls, because it is broken or shut down; "factory" if the factory of
    the executor raised an error. `why` is the text of the executor's error, which is `__cause__`. `has_factory`: the
    executor comes from a factory, so the next attempt gets a new one if this one is broken.
    """

    def __init__(
        self, where: str, *, kind: Literal["lost", "refused", "factory"], why: str, has_factory: bool = False
    ) -> None:
        self.where = where
        self.kind: Literal["lost", "refused", "factory"] = kind
        self.why = why
        self.has_factory = has_factory
        what = {
            "lost": "the executor lost the call",
            "refused": "the executor accepts no calls",
            "factory": "the executor's factory failed",
        }[kind]
        remedy = "resume the thread, or give it a retry_policy"
        if not has_factory:
            remedy = "a broken executor stays broken: pass a factory, executor=<function that makes one>, and resume"
        super().__init__(f"{bounded(where, 80)}: {what}: {bounded(why, _LONGEST_WHY)}; {remedy}")


class ExecutorRaisedError(DurableGraphError):
    """A function on an executor raised an exception that cannot be rebuilt in this process.

    `where` is the node or task, `type_name` the exception's class with its module, `message` its text, and `traceback`
    that of the executor's process, as text.
    """

    def __init__(self, where: str, *, type_name: str, message: str, traceback: str) -> None:
        self.where = where
        self.type_name = type_name
        self.message = message
        self.traceback = traceback
        super().__init__(
            f"{bounded(where, 80)} raised {bounded(type_name, 80)} on its executor: {bounded(message, 120)}; the "
            f"exception cannot be rebuilt in this process, so `type_name`, `message` and `traceback` have its texts"
        )
