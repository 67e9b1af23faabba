"""The rows that a prune keeps, as functions of rows without I/O."""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from durable_graph.checkpointing import rules
from durable_graph.errors import InvalidOptionError
from durable_graph.records import CheckpointRow, ThreadRow
from durable_graph.run_records import RunState

# `<node>:<born>.<ord>`; a number has at most 18 digits.
_OF_TASK = re.compile(r".*:([0-9]{1,18})\.[0-9]{1,18}", re.DOTALL)


def planned_at(ns: str) -> int | None:
    """The number of the checkpoint that planned the outermost task of a namespace.

    Of nested tasks, the outermost was planned first. None for a namespace that belongs to no task: the root's, and the
    namespaces of graphs with memory per thread.
    """
    for part in ns.split("|"):
        if found := _OF_TASK.fullmatch(part):
            return int(found[1])
    return None


def caller_of(ns: str) -> int | None:
    """The number under which calls are recorded in a task's own namespace, None for other namespaces."""
    found = _OF_TASK.fullmatch(ns)
    return int(found[1]) if found else None


class ValueKey(NamedTuple):
    """The key of a value row, and the number of its predecessor in the chain."""

    ns: str
    channel: str
    no: int
    prev: int


class Kept(NamedTuple):
    """The rows that a prune keeps. `oldest` has each kept namespace's first checkpoint; `floor` is the root's.

    `born` has the smallest number of a task in the plans of each kept namespace. `results` has the lineage of each root
    checkpoint that is kept alone, with its values, because it is the result of a run.
    """

    checkpoints: frozenset[tuple[str, int]]
    branches: frozenset[int]
    oldest: Mapping[str, int]
    born: Mapping[str, int]
    intervals: tuple[rules.Interval, ...]
    results: tuple[tuple[rules.Interval, ...], ...] = ()

    @property
    def floor(self) -> int:
        return self.oldest[""]

    def needs_record(self, ns: str, born: int) -> bool:
        """Whether the record is of a task that a kept checkpoint may plan, or of a call that a task may repeat.

        A namespace without checkpoints follows the root. A task's namespace has records of the task's calls, and of
        tasks that a graph in it planned.
        """
        if not (rules.is_within(self.intervals, born) and is_reachable(ns, self.born[""], self.intervals)):
            return False
        return born >= self.born.get(ns, self.born[""]) or born == caller_of(ns)


def is_reachable(ns: str, born: int, intervals: Iterable[rules.Interval]) -> bool:
    """Whether a kept run can still use the namespace: its task is in these branches, and not older than `born`, the
    oldest task in the root's kept plans. A namespace without a task is always reachable."""
    planned = planned_at(ns)
    return planned is None or (planned >= born and rules.is_within(intervals, planned))


def check_keep_last(keep_last: int) -> None:
    """Raises `InvalidOptionError` for a number that would leave no checkpoint."""
    if keep_last < 1:
        raise InvalidOptionError(
            "keep_last", keep_last, allowed="a number of at least 1; delete_thread removes everything"
        )


class Needed(NamedTuple):
    """The root checkpoints that runs of the thread need: `results` are those of runs that are done, `since` is the
    oldest one that an unfinished run begins from."""

    results: frozenset[int] = frozenset()
    since: int | None = None


NOTHING_NEEDED = Needed()


def needed_by(runs: Iterable[Sequence[int | None]]) -> Needed:
    """The checkpoints that these runs need. A run is given as its state, its last checkpoint, and the checkpoint from
    which it begins."""
    results, begins = set[int](), set[int]()
    for state, checkpoint, begins_from in runs:
        if state == RunState.DONE and checkpoint:
            results.add(checkpoint)
        elif state is not None and not RunState(state).is_ended and begins_from:
            begins.add(begins_from)
    return Needed(frozenset(results), min(begins, default=None))


def kept(
    checkpoints: Iterable[CheckpointRow],
    parents: Mapping[int, int],
    thread: ThreadRow,
    keep_last: int,
    before: int | None = None,
    needed: Needed = NOTHING_NEEDED,
) -> Kept | None:
    """The rows that a prune keeps: the newest `keep_last` root checkpoints in the head's lineage, those made since
    `before`, those since the one that a run begins from, and of every reachable namespace its checkpoints since the
    oldest kept root checkpoint, including the newest one before it. Besides, the results of runs. None if there is no
    root checkpoint."""
    intervals = tuple(rules.lineage(parents, thread.version))
    by_ns: dict[str, list[CheckpointRow]] = {}
    ordered = sorted(checkpoints, key=lambda row: row.no)
    for row in ordered:
        if rules.is_within(intervals, row.no):
            by_ns.setdefault(row.ns, []).append(row)
    found = by_ns.pop("", [])
    since = next((index for index, row in enumerate(found) if row.no == needed.since), len(found))
    root = found[min(max(len(found) - keep_last, 0), _first_since(found, before), since) :]
    if not root:
        return None
    stay = {"": root}
    born = min(row.born for row in root)
    for ns, rows in by_ns.items():
        if is_reachable(ns, born, intervals):
            stay[ns] = rows[max(bisect_right([row.no for row in rows], root[0].no) - 1, 0) :]
    stay_alone = _results(ordered, needed.results, {row.no for row in root})
    lines = tuple(tuple(rules.lineage(parents, no)) for no in stay_alone)
    return Kept(
        checkpoints=frozenset((ns, row.no) for ns, rows in stay.items() for row in rows)
        | {("", no) for no in stay_alone},
        branches=frozenset(lo for line in (intervals, *lines) for lo, _ in line),
        oldest={ns: rows[0].no for ns, rows in stay.items()},
        born={ns: min(row.born for row in rows) for ns, rows in stay.items()},
        intervals=intervals,
        results=lines,
    )


def _results(ordered: Sequence[CheckpointRow], results: Iterable[int], root: set[int]) -> tuple[int, ...]:
    """The numbers of the root checkpoints to keep that are results, or lie between a result on another branch and the
    first kept checkpoint: only before that one may a page of the history miss a parent."""
    by_no = {row.no: row for row in ordered if row.ns == ""}
    oldest, kept_alone = min(root), set[int]()
    for result in results:
        no = result
        while no in by_no and no not in root and no not in kept_alone:
            kept_alone.add(no)
            if by_no[no].parent < oldest:
                break
            no = by_no[no].parent
    return tuple(sorted(kept_alone))


def _first_since(rows: Sequence[CheckpointRow], before: int | None) -> int:
    """The index of the first row that is not older. Clocks may go back, and all rows after a kept row are kept."""
    if before is None:
        return len(rows)
    return next((index for index, row in enumerate(rows) if row.at >= before), len(rows))


def needed_values(keys: Iterable[ValueKey], keeps: Kept) -> set[tuple[str, str, int]]:
    """The rows (namespace, channel, number) that loads of the kept checkpoints read."""
    channels: dict[tuple[str, str], dict[int, int]] = {}
    of_root: dict[str, dict[int, int]] = {}
    for key in keys:
        if key.ns in keeps.oldest and rules.is_within(keeps.intervals, key.no):
            channels.setdefault((key.ns, key.channel), {})[key.no] = key.prev
        if key.ns == "":
            of_root.setdefault(key.channel, {})[key.no] = key.prev
    needed = {row for line in keeps.results for row in _values_at(of_root, line)}
    for (ns, channel), prevs in channels.items():
        oldest = keeps.oldest[ns]
        since = max((no for no in prevs if no <= oldest), default=oldest)
        for start in prevs:
            no = start if start >= since else 0
            while no in prevs and (ns, channel, no) not in needed:
                needed.add((ns, channel, no))
                no = prevs[no]
    return needed


def _values_at(
    channels: Mapping[str, Mapping[int, int]], line: Sequence[rules.Interval]
) -> Iterable[tuple[str, str, int]]:
    """The rows of the root's channels that a load of the newest number in this lineage reads."""
    for channel, prevs in channels.items():
        no = max((no for no in prevs if rules.is_within(line, no)), default=0)
        while no in prevs:
            yield "", channel, no
            no = min(prevs[no], no - 1)


def thread_after_prune(thread: ThreadRow, floor: int) -> ThreadRow:
    """The thread's row after the removal of checkpoints before `floor` and of other branches."""
    return msgspec.structs.replace(thread, gen=thread.gen + 1, floor=floor)
