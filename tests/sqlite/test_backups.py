"""A backup of a store in use is complete and consistent, blocks no commits, and never leaves a partial file."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from durable_graph.errors import (
    CheckpointerMisuseError,
    InvalidOptionError,
    StoreUnavailableError,
    TransferError,
)
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_sqlite import SqliteSaver, backup
from durable_graph_sqlite.retry import begin_reading
from tests.errors.kinds import of_kind


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def state_in(path: Path, thread: str = "thread") -> dict[str, bytes]:
    async with SqliteSaver(path) as saver:
        return state_of(await loaded(saver, thread))


class Pause:
    """Pauses the copy after its first page, in its thread, until `may_continue` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.may_continue = threading.Event()
        monkeypatch.setattr(backup, "_PAGES", 1)

        def begin(db: sqlite3.Connection) -> None:
            begin_reading(db)
            db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            self.begun.set()
            assert self.may_continue.wait(60)

        monkeypatch.setattr(backup, "begin_reading", begin)


async def test_a_backup_holds_all_commits_in_one_file(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver, length=20)
        await saver.backup(tmp_path / "backup.db")
        # The backup needs neither a write-ahead log nor write access.
        (tmp_path / "backup.db").chmod(0o400)
        with sqlite3.connect(f"{(tmp_path / 'backup.db').as_uri()}?immutable=1", uri=True) as db:
            assert db.execute("SELECT count(*) FROM checkpoints").fetchone() == (20,)
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()
        (tmp_path / "backup.db").chmod(0o600)

    assert names(tmp_path) == ["backup.db", "runs.db"]
    async with SqliteSaver(tmp_path / "backup.db") as restored:
        found = await loaded(restored, "thread")
        assert (found.thread, state_of(found)) == (writer.thread, writer.state())
        await commit(restored, writer, Step({"count": b"21"}))


async def test_commits_during_a_backup_continue_and_are_not_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(monkeypatch)
    async with SqliteSaver(tmp_path / "runs.db") as saver, SqliteSaver(tmp_path / "runs.db") as other:
        writer = await some_thread(saver, length=30)
        expected = writer.state()
        copying = asyncio.create_task(saver.backup(tmp_path / "backup.db"))
        await asyncio.to_thread(pause.begun.wait)

        for number in range(20):
            await commit(saver if number % 2 else other, writer, Step({"count": b"new %d" % number}))
        assert "backup.db" not in names(tmp_path)
        pause.may_continue.set()
        await copying

        assert state_of(await loaded(saver, "thread")) == writer.state()
    assert await state_in(tmp_path / "backup.db") == expected


async def test_each_backup_during_steady_commits_is_a_consistent_snapshot(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        is_over = False

        async def write() -> None:
            number = 4
            while not is_over:
                await commit(saver, writer, Step({"count": b"%d" % number}, {"log": b"%d," % number}))
                number += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(write())
            for number in range(5):
                await saver.backup(tmp_path / f"{number}.db")
            is_over = True
        for number in range(5):
            async with SqliteSaver(tmp_path / f"{number}.db") as restored:
                found = await loaded(restored, "thread")
                counted = b"".join(b"%d," % each for each in range(1, found.thread.version + 1))
                assert state_of(found) == {"first": b"only", "count": b"%d" % found.thread.version, "log": counted}


@pytest.mark.parametrize("what", ["a backup", "a file of somebody else", "a directory"])
async def test_an_existing_file_or_directory_is_not_replaced_by_a_backup(tmp_path: Path, what: str) -> None:
    target = tmp_path / "backup.db"
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
        if what == "a backup":
            await saver.backup(target)
        elif what == "a directory":
            target.mkdir()
        else:
            target.write_bytes(b"theirs")
        before = target.read_bytes() if target.is_file() else None

        with pytest.raises(TransferError, check=of_kind("backup"), match="a file exists there") as caught:
            await saver.backup(target)

    assert caught.value.path == str(target)
    assert (target.read_bytes() if target.is_file() else None) == before
    assert names(tmp_path) == ["backup.db", "runs.db"]


async def test_a_file_created_at_the_target_during_a_backup_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(monkeypatch)
    target = tmp_path / "backup.db"
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
        copying = asyncio.create_task(saver.backup(target))
        await asyncio.to_thread(pause.begun.wait)
        target.write_bytes(b"theirs")
        pause.may_continue.set()
        with pytest.raises(TransferError, check=of_kind("backup"), match="File exists"):
            await copying

    assert target.read_bytes() == b"theirs"
    assert names(tmp_path) == ["backup.db", "runs.db"]


async def test_a_backup_with_overwrite_replaces_an_older_backup(tmp_path: Path) -> None:
    target = tmp_path / "latest.db"
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        writer = await some_thread(saver)
        await saver.backup(target, overwrite=True)
        await commit(saver, writer, Step({"count": b"4"}))
        await saver.backup(target, overwrite=True)
        assert await state_in(target) == writer.state()
        (tmp_path / "folder").mkdir()
        with pytest.raises(TransferError, check=of_kind("backup"), match="a file exists there"):
            await saver.backup(tmp_path / "folder", overwrite=True)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("linked", ["nothing", "the target", "the store"])
async def test_the_store_itself_is_refused_as_the_target_of_a_backup(tmp_path: Path, suffix: str, linked: str) -> None:
    path = tmp_path / "runs.db"
    (tmp_path / "linked.db").symlink_to(path)
    async with SqliteSaver(tmp_path / "linked.db" if linked == "the store" else path) as saver:
        writer = await some_thread(saver)
        target = path.with_name(path.name + suffix)
        if linked == "the target":
            (tmp_path / "link").symlink_to(target)
            target = tmp_path / "link"
        with pytest.raises(TransferError, check=of_kind("backup"), match="the store itself"):
            await saver.backup(target, overwrite=True)
        assert state_of(await loaded(saver, "thread")) == writer.state()


@pytest.mark.parametrize("overwrite", [False, True])
async def test_a_leftover_write_ahead_log_at_the_target_is_refused(tmp_path: Path, overwrite: bool) -> None:
    target = tmp_path / "backup.db"
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
        target.with_name("backup.db-wal").write_bytes(b"of an older one")
        with pytest.raises(TransferError, check=of_kind("backup"), match=r"backup\.db-wal"):
            await saver.backup(target, overwrite=overwrite)
        # The remedy.
        target.with_name("backup.db-wal").unlink()
        await saver.backup(target, overwrite=overwrite)


async def test_the_error_for_a_missing_directory_names_the_directory(tmp_path: Path) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        with pytest.raises(
            TransferError, check=of_kind("backup"), match=r"there is no directory .*missing; create it first"
        ):
            await saver.backup(tmp_path / "missing" / "backup.db")


@pytest.mark.parametrize("path", ["a\0b", "\ud800"])
async def test_a_path_that_no_file_can_have_is_refused(tmp_path: Path, path: str) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        with pytest.raises(InvalidOptionError, match="path"):
            await saver.backup(tmp_path / path)


async def test_a_damaged_store_is_not_backed_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await some_thread(saver, length=50)
    content = bytearray(path.read_bytes())
    # A page of an index or of a table: SQLite finds its content malformed.
    content[4096 * 3 : 4096 * 3 + 64] = os.urandom(64)
    path.write_bytes(content)

    async with SqliteSaver(path) as saver:
        with pytest.raises(TransferError, check=of_kind("backup"), match="the store is damaged"):
            await saver.backup(tmp_path / "backup.db")
    assert names(tmp_path) == ["runs.db"]


async def test_a_cancelled_backup_is_stopped_and_its_copy_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(monkeypatch)
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver)
        copying = asyncio.create_task(saver.backup(tmp_path / "backup.db"))
        await asyncio.to_thread(pause.begun.wait)
        copying.cancel()
        await asyncio.sleep(0)
        pause.may_continue.set()
        with pytest.raises(asyncio.CancelledError):
            await copying
    assert names(tmp_path) == ["runs.db"]


async def test_closing_waits_for_a_backup_in_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = Pause(monkeypatch)
    saver = SqliteSaver(tmp_path / "runs.db")
    writer = await some_thread(saver)
    copying = asyncio.create_task(saver.backup(tmp_path / "backup.db"))
    await asyncio.to_thread(pause.begun.wait)
    closing = asyncio.create_task(saver.aclose())
    await asyncio.sleep(0)
    assert not closing.done()
    pause.may_continue.set()
    await closing

    assert copying.done()
    assert await state_in(tmp_path / "backup.db") == writer.state()
    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")):
        await saver.backup(tmp_path / "another.db")


def test_a_backup_ended_by_the_shutdown_of_its_loop_leaves_no_partial_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = Pause(monkeypatch)
    saver = SqliteSaver(tmp_path / "runs.db")

    async def begin() -> Writer:
        writer = await some_thread(saver)
        begun.append(asyncio.create_task(saver.backup(tmp_path / "backup.db")))
        await asyncio.to_thread(pause.begun.wait)
        pause.may_continue.set()
        return writer

    begun: list[asyncio.Task[None]] = []
    writer = asyncio.run(begin())
    asyncio.run(saver.backup(tmp_path / "second.db"))
    asyncio.run(saver.aclose())

    assert [name for name in names(tmp_path) if "partial" in name] == []
    assert asyncio.run(state_in(tmp_path / "second.db")) == writer.state()


async def test_a_store_whose_file_was_moved_is_not_backed_up(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await some_thread(saver)
        path.rename(tmp_path / "moved.db")
        with pytest.raises(StoreUnavailableError, match="removed or replaced"):
            await saver.backup(tmp_path / "backup.db")
        assert "backup.db" not in names(tmp_path)
        (tmp_path / "moved.db").rename(path)
        await saver.backup(tmp_path / "backup.db")


_NO_ROOM = """
import asyncio, resource, sys
from durable_graph.errors import StoreUnavailableError
from durable_graph_sqlite import SqliteSaver

async def main(path, target):
    async with SqliteSaver(path) as saver:
        await saver.list_threads()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            await saver.backup(target)
        except Exception as error:
            print(type(error).__name__)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_copy_that_cannot_be_written_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        await commit(saver, writer, Step({"large": os.urandom(500_000)}))
    command = [sys.executable, "-c", _NO_ROOM, str(path), str(tmp_path / "backup.db")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)

    assert done.stdout == "TransferError\n", done.stderr
    assert names(tmp_path) == ["runs.db"]


async def test_a_full_disk_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SqliteSaver(tmp_path / "runs.db") as saver:
        await some_thread(saver, length=50)
        connect = sqlite3.connect

        def small(path: Path, **options: object) -> sqlite3.Connection:
            db: sqlite3.Connection = connect(path, **options)  # type: ignore[call-overload]  # as it was called
            db.execute("PRAGMA max_page_count = 2").fetchone()
            return db

        monkeypatch.setattr(sqlite3, "connect", small)
        with pytest.raises(StoreUnavailableError, check=of_kind("full"), match="full") as caught:
            await saver.backup(tmp_path / "backup.db")
    assert caught.value.store == str(tmp_path / "backup.db")
    assert names(tmp_path) == ["runs.db"]
