"""Policies as values: invalid arguments, matching errors, and pauses."""

import itertools
import math
import sys
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import CachePolicy, RetryPolicy, TimeoutPolicy, default_retry_on
from durable_graph.errors import InvalidOptionError
from durable_graph.graph.policies import delay, matching

# Retries


def test_the_pauses_of_the_default_policy_double_from_half_a_second_and_jitter_by_up_to_one() -> None:
    policy = RetryPolicy()

    assert [delay(policy, failed, 0.0) for failed in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert delay(policy, 1, 0.75) == 1.25


def test_jitter_is_added_to_the_longest_pause() -> None:
    assert delay(RetryPolicy(max_interval=4), 50, 0.5) == 4.5
    assert delay(RetryPolicy(max_interval=4, jitter=False), 50, 0.5) == 4


@given(
    initial=st.floats(0, 1e308),
    factor=st.floats(0, 1e308),
    longest=st.floats(0, 1e308),
    failed=st.integers(1, 10**9),
    drawn=st.floats(0, 1),
)
def test_a_pause_without_jitter_is_never_longer_than_the_longest_pause(
    initial: float, factor: float, longest: float, failed: int, drawn: float
) -> None:
    policy = RetryPolicy(initial_interval=initial, backoff_factor=factor, max_interval=longest)

    assert 0 <= delay(policy, failed, 0.0) <= longest
    assert not math.isnan(delay(policy, failed, drawn))


def test_pauses_stay_zero_if_the_first_pause_is_zero() -> None:
    assert delay(RetryPolicy(initial_interval=0, jitter=False), 100_000, 0.0) == 0


def test_pauses_do_not_shrink_with_the_default_factor() -> None:
    pauses = [delay(RetryPolicy(jitter=False), failed, 0.0) for failed in range(1, 3000)]

    assert all(one <= next_ for one, next_ in itertools.pairwise(pauses))
    assert pauses[-1] == 128


def test_the_first_matching_policy_is_used() -> None:
    one = RetryPolicy(retry_on=KeyError)
    two = RetryPolicy(retry_on=lambda error: "busy" in str(error))
    three = RetryPolicy(retry_on=[LookupError, ValueError])
    policies = (one, two, three)

    assert matching(policies, KeyError("busy")) is one
    assert matching(policies, ValueError("busy")) is two
    assert matching(policies, IndexError()) is three
    assert matching(policies, TypeError()) is None
    assert matching((), KeyError()) is None


def test_a_later_change_of_a_list_of_errors_does_not_change_the_policy() -> None:
    listed: list[type[Exception]] = [KeyError]
    policy = RetryPolicy(retry_on=listed)
    listed.append(ValueError)

    assert matching((policy,), ValueError()) is None
    assert policy == RetryPolicy(retry_on=(KeyError,))
    assert hash(policy) == hash(RetryPolicy(retry_on=(KeyError,)))


@pytest.mark.parametrize(
    "refused",
    [
        {"initial_interval": -0.1},
        {"initial_interval": "1"},
        {"initial_interval": None},
        {"backoff_factor": math.nan},
        {"backoff_factor": True},
        {"max_interval": math.inf},
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"max_attempts": True},
        {"jitter": 1},
        {"retry_on": None},
        {"retry_on": int},
        {"retry_on": BaseException},
        {"retry_on": (KeyError, KeyboardInterrupt)},
        {"retry_on": [KeyError()]},
        {"retry_on": {KeyError}},
    ],
    ids=str,
)
def test_an_invalid_retry_policy_is_refused_at_construction(refused: dict[str, Any]) -> None:
    ((name, value),) = refused.items()

    with pytest.raises(InvalidOptionError) as caught:
        RetryPolicy(**refused)

    assert caught.value.option == name
    assert caught.value.value is value


# Errors that are retried by default


class StatusError(OSError):
    """A status error as httpx and requests raise it; that of requests is an OSError."""

    def __init__(self, status: int | None) -> None:
        self.response = None if status is None else SimpleNamespace(status_code=status)


@pytest.mark.parametrize(("module", "name"), [("httpx", "HTTPStatusError"), ("requests", "HTTPError")])
@pytest.mark.parametrize(("status", "is_retried"), [(500, True), (503, True), (404, False), (429, False), (None, True)])
def test_an_http_status_error_is_retried_unless_it_is_a_client_error(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, status: int | None, is_retried: bool
) -> None:
    assert not default_retry_on(StatusError(503))

    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: StatusError}))

    assert default_retry_on(StatusError(status)) is is_retried


@pytest.mark.parametrize(("status", "is_retried"), [(500, True), (404, False), (429, False)])
def test_a_response_error_of_aiohttp_is_retried_unless_it_is_a_client_error(
    monkeypatch: pytest.MonkeyPatch, status: int, is_retried: bool
) -> None:
    class ClientResponseError(Exception):
        def __init__(self, status: int) -> None:
            self.status = status

    monkeypatch.setitem(sys.modules, "aiohttp", SimpleNamespace(ClientResponseError=ClientResponseError))

    assert default_retry_on(ClientResponseError(status)) is is_retried


@pytest.mark.parametrize(
    ("module", "name"), [("requests", "ConnectionError"), ("requests", "Timeout"), ("aiohttp", "ClientConnectionError")]
)
def test_connection_errors_of_http_libraries_are_retried(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str
) -> None:
    class BrokenError(OSError):
        pass

    assert not default_retry_on(BrokenError())
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: BrokenError}))

    assert default_retry_on(BrokenError())


def test_default_retry_on_imports_no_http_library() -> None:
    libraries = {"aiohttp", "httpx", "requests"}
    before = libraries & sys.modules.keys()

    default_retry_on(RuntimeError())

    assert libraries & sys.modules.keys() == before


class OwnError(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError(),
        BrokenPipeError(),
        TimeoutError(),
        OwnError(),
        EOFError(),
        ExceptionGroup("", [OwnError(), ExceptionGroup("", [TimeoutError()])]),
    ],
)
def test_temporary_and_unknown_errors_are_retried(error: Exception) -> None:
    assert default_retry_on(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(),
        PermissionError(),
        UnicodeError(),
        KeyError(),
        RecursionError(),
        ExceptionGroup("", [ValueError(), ValueError()]),
        ExceptionGroup("", [ConnectionError(), ExceptionGroup("", [ValueError()])]),
    ],
)
def test_programming_errors_and_operating_system_errors_are_not_retried(error: Exception) -> None:
    assert not default_retry_on(error)


# Timeouts


@pytest.mark.parametrize("given", [90, 90.0, timedelta(minutes=1, seconds=30), TimeoutPolicy(run_timeout=90)])
def test_a_timeout_is_given_in_seconds_as_a_timedelta_or_as_a_policy(given: Any) -> None:
    assert TimeoutPolicy.of(given) == TimeoutPolicy(run_timeout=90)


def test_both_times_of_a_policy_may_be_timedeltas() -> None:
    policy = TimeoutPolicy(run_timeout=timedelta(minutes=1), idle_timeout=timedelta(milliseconds=500))

    assert (policy.run_timeout, policy.idle_timeout, policy.refresh_on) == (60.0, 0.5, "auto")


@pytest.mark.parametrize("given", [0, -1, math.inf, math.nan, True, "1", timedelta(0), timedelta(seconds=-1), [1]])
def test_an_invalid_timeout_is_refused(given: Any) -> None:
    for name in ("run_timeout", "idle_timeout"):
        with pytest.raises(InvalidOptionError, match=name):
            TimeoutPolicy(**{name: given})
    with pytest.raises(InvalidOptionError, match="timeout of the test"):
        TimeoutPolicy.of(given, "timeout of the test")


def test_an_unknown_refresh_on_value_is_refused() -> None:
    unknown: Any = "sometimes"
    with pytest.raises(InvalidOptionError, match=r"refresh_on='sometimes'.*'auto' or 'heartbeat'"):
        TimeoutPolicy(refresh_on=unknown)


# Caching


def test_the_ttl_of_a_cache_policy_is_given_in_seconds_or_as_a_timedelta() -> None:
    assert CachePolicy(ttl=60) == CachePolicy(ttl=timedelta(minutes=1))
    assert CachePolicy().ttl is None


@pytest.mark.parametrize(
    "refused", [{"ttl": 0}, {"ttl": -1}, {"ttl": "1"}, {"ttl": math.inf}, {"key_func": "name"}], ids=str
)
def test_an_invalid_cache_policy_is_refused_at_construction(refused: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(refused))):
        CachePolicy(**refused)


def test_policies_cannot_be_changed() -> None:
    policies: list[tuple[Any, str]] = [
        (RetryPolicy(), "max_attempts"),
        (TimeoutPolicy(), "run_timeout"),
        (CachePolicy(), "ttl"),
    ]
    for policy, name in policies:
        with pytest.raises(AttributeError):
            setattr(policy, name, 3)
