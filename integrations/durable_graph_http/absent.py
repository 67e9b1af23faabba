"""Operations of LangGraph's servers that this service does not have. Each replies 501 with the reason."""

from durable_graph_http.call import Call
from durable_graph_http.messages import Reply
from durable_graph_http.problems import Problem
from durable_graph_http.routes import Handler, Route

_NO_STORE = "There is no store of items: the application's own database has them"
_NO_ASSISTANTS = "Each graph of the app has one assistant, with one version: assistants cannot be written"

_ABSENT: tuple[tuple[str, str, str, str, str], ...] = (
    ("PUT", "/store/items", "store.put", "Write an item", _NO_STORE),
    ("GET", "/store/items", "store.get", "Read an item", _NO_STORE),
    ("DELETE", "/store/items", "store.delete", "Delete an item", _NO_STORE),
    ("POST", "/store/items/search", "store.search", "Find items", _NO_STORE),
    ("POST", "/store/namespaces", "store.search", "List namespaces", _NO_STORE),
    ("POST", "/assistants", "assistants.create", "Create an assistant", _NO_ASSISTANTS),
    ("PATCH", "/assistants/{assistant_id}", "assistants.update", "Update an assistant", _NO_ASSISTANTS),
    ("DELETE", "/assistants/{assistant_id}", "assistants.delete", "Delete an assistant", _NO_ASSISTANTS),
    ("POST", "/assistants/{assistant_id}/versions", "assistants.read", "List versions", _NO_ASSISTANTS),
    ("POST", "/assistants/{assistant_id}/latest", "assistants.update", "Choose a version", _NO_ASSISTANTS),
)


def _refusing(reason: str) -> Handler:
    async def refuse(call: Call) -> Reply:
        raise Problem(501, reason)

    refuse.__doc__ = f"Not implemented. {reason}."
    return refuse


ROUTES: tuple[Route, ...] = tuple(
    Route(
        method=method,
        path=path,
        operation=operation,
        handler=_refusing(reason),
        summary=summary,
        status=501,
        is_absent=True,
    )
    for method, path, operation, summary, reason in _ABSENT
)
