"""What a node may ask for beside the state."""

import msgspec


class ExecutionInfo(msgspec.Struct, frozen=True, gc=False):
    """Which task is being run.

    `task_id` is the same on every attempt and after every crash, and different for every other task: hand it to outside
    services as the idempotency key. `node_attempt` counts from 1 and goes on across resumes.
    """

    thread_id: str | None
    checkpoint_id: str | None
    checkpoint_ns: str
    task_id: str
    node: str
    step: int
    node_attempt: int


class Runtime(msgspec.Struct, frozen=True):
    """Given to a node that has a parameter called `runtime`."""

    execution_info: ExecutionInfo
