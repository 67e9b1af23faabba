"""Whether a failure is tried again, and when."""

import random

from durable_graph.errors import StateMutatedError
from durable_graph.graph.policies import RetryPolicy, delay, matching


def retry_after(policies: tuple[RetryPolicy, ...], error: BaseException | None, tries: int) -> float | None:
    """Seconds to wait before the next attempt, after `tries` that failed; None if there is to be none."""
    if isinstance(error, StateMutatedError):
        # Another attempt would be given what was changed.
        return None
    policy = matching(policies, error) if isinstance(error, Exception) else None
    if policy is None or tries >= policy.max_attempts:
        return None
    return delay(policy, tries, random.random() if policy.jitter else 0.0)  # noqa: S311  # it spreads load, no secret
