"""Files are readable by their owner alone, from the first moment: the states of threads are in them in clear."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from durable_graph.errors import StoreUnavailableError
from durable_graph.testing.conformance.saver_under_test import commit, some_thread
from durable_graph.testing.rows import Step
from durable_graph_sqlite import SqliteCache, SqliteSaver, private
from tests.errors.kinds import of_kind

PRIVATE = 0o600


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """What the process would let others do with its new files: everything."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in sorted(folder.iterdir())}


async def test_all_files_of_a_saver_are_private(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
        assert modes(tmp_path) == dict.fromkeys(("runs.db", "runs.db-shm", "runs.db-wal"), PRIVATE)
        await saver.backup(tmp_path / "backup.db")
    assert modes(tmp_path) == dict.fromkeys(("runs.db", "backup.db"), PRIVATE)


async def test_all_files_of_a_cache_are_private(tmp_path: Path) -> None:
    async with SqliteCache(tmp_path / "cache.db") as cache:
        await cache.aset({(("node",), "key"): (b"value", None)})
        assert modes(tmp_path) == dict.fromkeys(("cache.db", "cache.db-shm", "cache.db-wal"), PRIVATE)


@pytest.mark.parametrize("mode", [0o640, 0o666])
async def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    path.chmod(mode)

    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        assert modes(tmp_path) == dict.fromkeys(("runs.db", "runs.db-shm", "runs.db-wal"), mode)
    async with SqliteSaver(path) as saver:
        await commit(saver, writer, Step({"count": b"4"}))
        assert modes(tmp_path) == dict.fromkeys(("runs.db", "runs.db-shm", "runs.db-wal"), mode)


@pytest.mark.parametrize("where", ["there.db", "elsewhere/there.db"])
async def test_a_link_to_a_file_that_is_missing_makes_a_private_file_there(tmp_path: Path, where: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "runs.db"
    link.symlink_to(where)

    async with SqliteSaver(link) as saver:
        await some_thread(saver)
        created = modes((tmp_path / where).parent)

    assert link.is_symlink()
    assert {name: mode for name, mode in created.items() if name.startswith("there.db")} == dict.fromkeys(
        ("there.db", "there.db-shm", "there.db-wal"), PRIVATE
    )


async def test_a_link_into_a_directory_that_is_missing_names_that_directory(tmp_path: Path) -> None:
    link = tmp_path / "runs.db"
    link.symlink_to(tmp_path / "missing" / "runs.db")

    with pytest.raises(StoreUnavailableError, match=r"there is no directory .*missing; create it first"):
        await SqliteSaver(link).load("thread")


def test_a_file_that_another_process_creates_at_the_same_moment_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.db"
    exists = Path.exists

    def just_before(each: Path) -> bool:
        found = exists(each)
        if not found and each == path:
            each.touch(mode=0o640)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", just_before)
        private.create_private(path)

    assert modes(tmp_path) == {"runs.db": 0o640}


async def test_no_room_for_another_file_is_a_full_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of a file system without inodes there is none to be had here.
    def full(path: Path, mode: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "mknod", full)
    with pytest.raises(StoreUnavailableError, check=of_kind("full"), match="No space left"):
        await SqliteSaver(tmp_path / "runs.db").load("thread")
