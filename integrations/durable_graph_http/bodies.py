"""The bodies of requests that start runs, as LangGraph's clients send them."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

MultitaskStrategy = Literal["reject", "interrupt", "rollback", "enqueue"]
Count = Annotated[float, msgspec.Meta(ge=0, le=1e9)]


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body whose unknown members are refused."""


class SendBody(Body, frozen=True, kw_only=True):
    """A node to run with an input of its own."""

    node: str
    input: Any = None


class CommandBody(Body, frozen=True, kw_only=True):
    """An answer to a question, an update of the state, or the nodes to run next. Null means that a member is left out,
    except for `resume`, where it is an answer."""

    goto: str | SendBody | list[str | SendBody] | None = None
    update: dict[str, Any] | list[tuple[str, Any]] | None = None
    resume: Any | UnsetType = UNSET


class CheckpointBody(Body, frozen=True, kw_only=True):
    """A checkpoint of the thread. `thread_id` has to be the thread of the path, and `checkpoint_map` is ignored."""

    thread_id: str | None = None
    checkpoint_ns: str | None = None
    checkpoint_id: str | None = None
    checkpoint_map: Any = None


class ConfigBody(Body, frozen=True, kw_only=True):
    """The config of a run. `configurable` is what nodes read, besides the place of the run."""

    tags: list[str] | None = None
    recursion_limit: int | None = None
    max_concurrency: int | None = None
    metadata: dict[str, Any] | None = None
    run_name: str | None = None
    configurable: dict[str, Any] | None = None


class RunBody(Body, frozen=True, kw_only=True):
    """A run to start. Only `assistant_id` is required: the name of a graph, or the id of its assistant.

    `stream_mode`, `stream_subgraphs` and `on_disconnect` are for streams, `on_completion` is for runs without a thread.
    The members of LangGraph's clients that have no meaning here are accepted and ignored: `assistantId` (the client for
    JavaScript repeats the id in batches), `checkpoint_during`, `feedback_keys`, `langsmith_tracer`, `stream_resumable`
    (every stream can be resumed) and `strict_resume` (answers are always strict).
    """

    assistant_id: str
    input: Any = None
    command: CommandBody | None = None
    config: ConfigBody | None = None
    context: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    checkpoint: CheckpointBody | None = None
    checkpoint_id: str | None = None
    interrupt_before: Literal["*"] | list[str] | None = None
    interrupt_after: Literal["*"] | list[str] | None = None
    multitask_strategy: MultitaskStrategy | None = None
    if_not_exists: Literal["create", "reject"] | None = None
    on_disconnect: Literal["cancel", "continue"] | None = None
    on_completion: Literal["delete", "keep"] | None = None
    after_seconds: Count | None = None
    durability: Literal["sync", "async", "exit"] | None = None
    stream_mode: str | list[str] | None = None
    stream_subgraphs: bool | None = None
    webhook: str | None = None
    # Ignored.
    assistant_id_again: Any = msgspec.field(name="assistantId", default=None)
    checkpoint_during: Any = None
    feedback_keys: Any = None
    langsmith_tracer: Any = None
    stream_resumable: Any = None
    strict_resume: Any = None
