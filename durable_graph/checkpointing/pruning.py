"""What a prune keeps, as functions of rows: no I/O."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.errors import InvalidOptionError
from durable_graph.records import CheckpointRow, ThreadRow

# `<node>:<born>.<ord>`; no more digits than a number has.
_OF_TASK = re.compile(r".*:([0-9]{1,18})\.[0-9]{1,18}", re.DOTALL)


def planned_at(ns: str) -> int | None:
    """The number of the checkpoint that planned the task whose own this namespace is, or lies in.

    Of several such tasks it is the outermost, which was planned first. None for a namespace that belongs to no one
    task: the root's, and those in which a graph keeps its memory from call to call.
    """
    for part in ns.split("|"):
        if found := _OF_TASK.fullmatch(part):
            return int(found[1])
    return None


def caller_of(ns: str) -> int | None:
    """The number under which calls are recorded in the namespace, where it is a task's own."""
    found = _OF_TASK.fullmatch(ns)
    return int(found[1]) if found else None


class ValueKey(NamedTuple):
    """Where a value row lies, and the row that it goes on from."""

    ns: str
    channel: str
    no: int
    prev: int


class Kept(NamedTuple):
    """What a prune keeps. `oldest` has each kept namespace's first checkpoint, `floor` is that of the root.

    `born` has for each kept namespace the smallest number under which a task of its plans is recorded.
    """

    checkpoints: frozenset[tuple[str, int]]
    lines: frozenset[int]
    oldest: Mapping[str, int]
    born: Mapping[str, int]
    intervals: tuple[rules.Interval, ...]

    @property
    def floor(self) -> int:
        return self.oldest[""]

    def needs_record(self, ns: str, born: int) -> bool:
        """Whether a kept checkpoint may plan the task, or a task call it again.

        A namespace without checkpoints goes with the root. One of a task has its calls, and what a graph plans in it.
        """
        if not (rules.is_within(self.intervals, born) and is_reachable(ns, self.born[""], self.intervals)):
            return False
        return born >= self.born.get(ns, self.born[""]) or born == caller_of(ns)


def is_reachable(ns: str, born: int, intervals: Iterable[rules.Interval]) -> bool:
    """Whether a task that calls into the namespace may still be resumed, or its next call may: it is in these lines,
    and the plans of the root's kept checkpoints go back to `born`."""
    planned = planned_at(ns)
    return planned is None or (planned >= born and rules.is_within(intervals, planned))


def check_keep_last(keep_last: int) -> None:
    """Raises `InvalidOptionError` for a number that would leave no checkpoint."""
    if keep_last < 1:
        raise InvalidOptionError(
            "keep_last", keep_last, allowed="a number of at least 1; delete_thread removes everything"
        )


def kept(
    checkpoints: Iterable[CheckpointRow],
    parents: Mapping[int, int],
    thread: ThreadRow,
    keep_last: int,
    before: int | None = None,
) -> Kept | None:
    """What a prune keeps: the newest `keep_last` root checkpoints in the head's lineage, those after them in time if
    `before` says which, and of every other namespace that can still be reached what it was at since then. None without
    a root checkpoint: there is nothing to go by."""
    intervals = tuple(rules.lineage(parents, thread.version))
    by_ns: dict[str, list[CheckpointRow]] = {}
    for row in sorted(checkpoints, key=lambda row: row.no):
        if rules.is_within(intervals, row.no):
            by_ns.setdefault(row.ns, []).append(row)
    found = by_ns.pop("", [])
    root = found[min(max(len(found) - keep_last, 0), _first_since(found, before)) :]
    if not root:
        return None
    stay = {"": root}
    born = min(row.born for row in root)
    for ns, rows in by_ns.items():
        if is_reachable(ns, born, intervals):
            stay[ns] = rows[max(bisect_right([row.no for row in rows], root[0].no) - 1, 0) :]
    return Kept(
        checkpoints=frozenset((ns, row.no) for ns, rows in stay.items() for row in rows),
        lines=frozenset(lo for lo, _ in intervals),
        oldest={ns: rows[0].no for ns, rows in stay.items()},
        born={ns: min(row.born for row in rows) for ns, rows in stay.items()},
        intervals=intervals,
    )


def _first_since(rows: Sequence[CheckpointRow], before: int | None) -> int:
    """The index of the first row that is not older. Clocks go back, and what follows a row that stays does too."""
    if before is None:
        return len(rows)
    return next((index for index, row in enumerate(rows) if row.at >= before), len(rows))


def needed_values(keys: Iterable[ValueKey], keeps: Kept) -> set[tuple[str, str, int]]:
    """The rows (namespace, channel, number) that loads of the kept checkpoints read."""
    channels: dict[tuple[str, str], dict[int, int]] = {}
    for key in keys:
        if key.ns in keeps.oldest and rules.is_within(keeps.intervals, key.no):
            channels.setdefault((key.ns, key.channel), {})[key.no] = key.prev
    needed: set[tuple[str, str, int]] = set()
    for (ns, channel), prevs in channels.items():
        oldest = keeps.oldest[ns]
        since = max((no for no in prevs if no <= oldest), default=oldest)
        for start in prevs:
            no = start if start >= since else 0
            while no in prevs and (ns, channel, no) not in needed:
                needed.add((ns, channel, no))
                no = prevs[no]
    return needed


def thread_after_prune(thread: ThreadRow, floor: int) -> ThreadRow:
    """The thread's row once the checkpoints before `floor` and those of other lines are gone."""
    return msgspec.structs.replace(thread, gen=thread.gen + 1, floor=floor)
