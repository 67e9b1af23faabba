"""The waker of the thread that watches a file: calls of other threads, writes to the file, and its descriptors."""

import ctypes
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from durable_graph_sqlite.waker import EventWaker, Waker, new_waker

LONG = 60.0
IS_LINUX = sys.platform == "linux"


@pytest.fixture(params=[new_waker, EventWaker])
def waker(request: pytest.FixtureRequest) -> Iterator[Waker]:
    made: Waker = request.param()
    yield made
    made.close()


@pytest.fixture
def best() -> Iterator[Waker]:
    made = new_waker()
    yield made
    made.close()


def write_elsewhere(path: Path) -> None:
    """Append a byte in another process."""
    subprocess.run([sys.executable, "-c", f"open({str(path)!r}, 'ab').write(b'x')"], check=True)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) if IS_LINUX else 0


def test_a_wait_without_a_call_ends_by_itself(waker: Waker) -> None:
    assert not waker.wait(0.01)
    assert not waker.wait(0.01, for_writes=True)


def test_a_call_ends_the_next_wait_and_only_that(waker: Waker) -> None:
    waker.wake()
    waker.wake()
    assert waker.wait(LONG)
    assert not waker.wait(0)
    waker.wake()
    assert waker.wait(LONG, for_writes=True)
    assert not waker.wait(0, for_writes=True)


def test_a_call_of_another_thread_ends_the_present_wait(waker: Waker) -> None:
    for _ in range(20):
        other = threading.Thread(target=waker.wake)
        other.start()
        assert waker.wait(LONG, for_writes=True)
        other.join()


def test_calls_after_the_end_do_nothing() -> None:
    made = new_waker()
    made.close()
    # The lowest free descriptors are those that were closed.
    read, write = os.pipe()
    made.wake()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)


def test_a_write_of_another_process_ends_a_wait_for_it(best: Waker, tmp_path: Path) -> None:
    path = tmp_path / "file"
    best.watch(path)
    assert not best.sees_writes
    path.touch()
    best.watch(path)
    assert best.sees_writes is IS_LINUX
    for _ in range(2):
        write_elsewhere(path)
        assert not best.wait(0)
        assert best.wait(LONG if IS_LINUX else 0, for_writes=True) is IS_LINUX
        best.forget_writes()
        assert not best.wait(0, for_writes=True)


def test_a_removed_file_is_no_longer_watched(best: Waker, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    best.watch(path)
    write_elsewhere(path)
    path.unlink()
    best.forget_writes()
    assert not best.sees_writes


def test_a_waker_that_was_closed_leaves_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    before = descriptors()
    made = new_waker()
    made.watch(path)
    made.close()
    assert descriptors() == before


@pytest.mark.parametrize("missing", ["eventfd", "inotify_init1"])
def test_without_free_descriptors_the_file_is_polled(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    class Libc:
        def __init__(self, *_: object, **__: object) -> None:
            self.inotify_init1: Callable[[int], int] = lambda flags: -1

    if missing == "eventfd":
        monkeypatch.setattr(os, "eventfd", refuse, raising=False)
    else:
        monkeypatch.setattr(ctypes, "CDLL", Libc)
    before = descriptors()
    assert isinstance(new_waker(), EventWaker)
    assert descriptors() == before
