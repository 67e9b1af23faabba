"""LangChain's runnables as nodes and routers: the entry point in `durable_graph.runnables`."""

import inspect
import typing
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from langchain_core.runnables import Runnable


def function_of(given: Any) -> Callable[..., Any] | None:
    """The runnable as an async function of the state and the config, None for any other object."""
    if not isinstance(given, Runnable):
        return None
    runnable: Runnable[Any, Any] = given
    # A closure variable of `run`, in which the search for subgraphs finds the graphs that the function calls.
    behind = getattr(given, "afunc", None) or getattr(given, "func", None)

    async def run(state: Any, *, config: Any) -> Any:
        return await runnable.ainvoke(state, config)

    run.__name__ = run.__qualname__ = given.get_name()
    if inspect.isroutine(behind):
        run.__wrapped__ = behind  # type: ignore[attr-defined]
    parameters = [Parameter("state", Parameter.POSITIONAL_OR_KEYWORD), Parameter("config", Parameter.KEYWORD_ONLY)]
    run.__signature__ = Signature(parameters, return_annotation=_returns(behind))  # type: ignore[attr-defined]
    return run


def _returns(behind: Any) -> Any:
    """The return annotation of a `RunnableLambda`'s function: a router's choices, a node's destinations."""
    try:
        return typing.get_type_hints(behind).get("return", Signature.empty)
    except (NameError, TypeError):
        return Signature.empty
