"""Files are created readable by their owner only, because they hold the states of threads in plain text."""

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
def permissive_umask() -> Iterator[None]:
    """Set a umask that gives others all permissions on new files."""
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
async def test_an_existing_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
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
async def test_a_link_to_a_missing_file_creates_a_private_file_at_its_target(tmp_path: Path, where: str) -> None:
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


async def test_the_error_for_a_link_into_a_missing_directory_names_the_directory(tmp_path: Path) -> None:
    link = tmp_path / "runs.db"
    link.symlink_to(tmp_path / "missing" / "runs.db")

    with pytest.raises(StoreUnavailableError, match=r"there is no directory .*missing; create it first"):
        await SqliteSaver(link).load("thread")


def test_a_file_created_concurrently_by_another_process_keeps_its_mode(
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


async def test_a_file_system_without_free_inodes_is_a_full_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No file system without free inodes is available here.
    def full(path: Path, mode: int) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(os, "mknod", full)
    with pytest.raises(StoreUnavailableError, check=of_kind("full"), match="No space left"):
        await SqliteSaver(tmp_path / "runs.db").load("thread")
