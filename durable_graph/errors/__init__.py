"""All exceptions that callers can get, in one tree.

An error's text says what happened and who has to act, and its attributes have the facts.
"""

from durable_graph.errors.control import (
    AmbiguousResumeError,
    GraphDrained,
    InterruptAnsweredError,
    InvalidCallError,
    NodeTimeoutError,
    OutsideOfRunError,
    OutsideOfWorkerError,
    ReplayMismatchError,
    StateMutatedError,
    StepTimeoutError,
    StreamOverflowError,
    SubgraphBusyError,
    UnfinishedChildError,
    UnknownInterruptError,
)
from durable_graph.errors.description import (
    GraphValidationError,
    UnreachableNodeWarning,
)
from durable_graph.errors.executors import (
    ExecutorFailedError,
    ExecutorImportError,
    ExecutorRaisedError,
)
from durable_graph.errors.options import (
    InvalidOptionError,
    MissingCheckpointerError,
    UnknownOptionError,
)
from durable_graph.errors.requests import (
    KeyReusedError,
    ThreadCancelledError,
    ThreadFinishedError,
    WrongGraphError,
)
from durable_graph.errors.running import (
    GraphChangedError,
    NodeCancelledError,
    NodeExitedError,
    ReducerError,
    UnknownNameError,
)
from durable_graph.errors.runs import (
    ChildFailedError,
    MissingPowerError,
    RunDeadlockError,
    RunFailedError,
    UnknownRunError,
    UpdateRefusedError,
)
from durable_graph.errors.schedules import ScheduleExistsError, UnknownScheduleError
from durable_graph.errors.store import (
    CheckpointerMisuseError,
    MissingBackendError,
    StoreConfigurationError,
    StoreFormatError,
    StoreLockedError,
    StoreUnavailableError,
    TransferError,
)
from durable_graph.errors.threads import (
    CheckpointConflictError,
    GraphRecursionError,
    NothingToResumeError,
    ThreadBusyError,
    ThreadExistsError,
    UnfinishedThreadError,
    UnknownThreadError,
)
from durable_graph.errors.tree import (
    DurableGraphError,
    names,
    with_article,
)
from durable_graph.errors.updates import (
    AmbiguousUpdateError,
    ConcurrentUpdateError,
    InvalidInputError,
    InvalidNodeResultError,
    InvalidStateValueError,
    InvalidUpdateError,
    StateKeyError,
)
from durable_graph.errors.values import (
    CorruptCheckpointError,
    DamagedRowError,
    DecodeError,
    UnstorableValueError,
    ValueTooLargeError,
)

__all__ = [
    "AmbiguousResumeError",
    "AmbiguousUpdateError",
    "CheckpointConflictError",
    "CheckpointerMisuseError",
    "ChildFailedError",
    "ConcurrentUpdateError",
    "CorruptCheckpointError",
    "DamagedRowError",
    "DecodeError",
    "DurableGraphError",
    "ExecutorFailedError",
    "ExecutorImportError",
    "ExecutorRaisedError",
    "GraphChangedError",
    "GraphDrained",
    "GraphRecursionError",
    "GraphValidationError",
    "InterruptAnsweredError",
    "InvalidCallError",
    "InvalidInputError",
    "InvalidNodeResultError",
    "InvalidOptionError",
    "InvalidStateValueError",
    "InvalidUpdateError",
    "KeyReusedError",
    "MissingBackendError",
    "MissingCheckpointerError",
    "MissingPowerError",
    "NodeCancelledError",
    "NodeExitedError",
    "NodeTimeoutError",
    "NothingToResumeError",
    "OutsideOfRunError",
    "OutsideOfWorkerError",
    "ReducerError",
    "ReplayMismatchError",
    "RunDeadlockError",
    "RunFailedError",
    "ScheduleExistsError",
    "StateKeyError",
    "StateMutatedError",
    "StepTimeoutError",
    "StoreConfigurationError",
    "StoreFormatError",
    "StoreLockedError",
    "StoreUnavailableError",
    "StreamOverflowError",
    "SubgraphBusyError",
    "ThreadBusyError",
    "ThreadCancelledError",
    "ThreadExistsError",
    "ThreadFinishedError",
    "TransferError",
    "UnfinishedChildError",
    "UnfinishedThreadError",
    "UnknownInterruptError",
    "UnknownNameError",
    "UnknownOptionError",
    "UnknownRunError",
    "UnknownScheduleError",
    "UnknownThreadError",
    "UnreachableNodeWarning",
    "UnstorableValueError",
    "UpdateRefusedError",
    "ValueTooLargeError",
    "WrongGraphError",
    "names",
    "with_article",
]
