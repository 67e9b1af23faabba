"""Ask the questions, and note where and when."""

import asyncio
import datetime
import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.lab import Lab
from benchmarks.questions import QUESTIONS
from benchmarks.record import Record, Run

_ROOT: Final = Path(__file__).parents[1]
_CODE: Final = ("durable_graph", "backends", "integrations", "benchmarks", "tests/postgres")
_PACKAGES: Final = (
    "durable-graph",
    "msgspec",
    "anyio",
    "asyncpg",
    "langgraph",
    "langgraph-checkpoint",
    "langgraph-checkpoint-sqlite",
    "langgraph-checkpoint-postgres",
    "aiosqlite",
    "psycopg",
    "langchain-core",
    "dbos",
    "procrastinate",
)


def measured(lab: Lab, questions: Sequence[str]) -> Record:
    """The record of the questions, each in an event loop of its own."""
    began = time.monotonic()
    for question in questions:
        lab.question = question
        asyncio.run(_ask(lab, question))
    return Record(run=_run(lab, time.monotonic() - began), rows=lab.rows)


async def _ask(lab: Lab, question: str) -> None:
    await QUESTIONS[question](lab)


def _run(lab: Lab, seconds: float) -> Run:
    version = next((disk.server_version for disk in lab.disks if disk.server_version), "not started")
    return run_of(seconds, version, {disk.flush: disk.flush_microseconds for disk in lab.disks})


def run_of(seconds: float, server_version: str, flushes: dict[str, float]) -> Run:
    """Where and when a record was measured."""
    return Run(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        commit=_git("rev-parse", "--short=12", "HEAD"),
        is_modified=bool(_git("status", "--porcelain", "--", *_CODE)),
        seconds=round(seconds),
        machine={
            "processor": _processor(),
            "cores": str(os.cpu_count()),
            "system": f"{platform.system()} {platform.machine()}",
        },
        versions={
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **{name: version(name) for name in _PACKAGES if _is_installed(name)},
            "PostgreSQL": server_version,
        },
        flushes=flushes,
    )


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _processor() -> str:
    """What Linux calls it, or else Python."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _git(*arguments: str) -> str:
    # Whichever git is on the search path.
    command = ["git", *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
