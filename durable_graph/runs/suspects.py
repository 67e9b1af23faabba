"""Suspects: runs that may have ended their processes. A worker limits how many it executes at the same time.

The death of a process counts for every run in it that made no progress since its claim, because the cause is not
known. A run with enough such crashes is a suspect until it makes progress. The fewer crashes a suspect has left before
it is quarantined, the fewer suspects run beside it, and a suspect with one crash left runs without any other. So a run
that ends its processes is quarantined alone, while runs whose processes were killed for another reason resume together.
"""

from collections.abc import Iterable, Sequence

_FIRST_SUSPECT = 2
"""The number of crashes without progress from which on a run is a suspect, if it has more than one left then."""
_GROWTH = 4
"""The factor by which more suspects run at the same time for each further crash that they have left."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_LONGEST_DELAY = 10.0


class Suspects:
    """The rule of one worker, whose runs are quarantined after `max_crashes` crashes.

    It also chooses the delays of the runs that it postpones. They grow while the suspects that run make no progress.
    """

    def __init__(self, max_crashes: int) -> None:
        self._max_crashes = max_crashes
        # If `max_crashes` is 1, every run has one crash left from the start, and all would be suspects. Then none is,
        # and all are quarantined with their process.
        self._first = max(1, min(_FIRST_SUSPECT, max_crashes - 1))
        self._pause = _FIRST_PAUSE

    def includes(self, crashes: int) -> bool:
        """Whether a run with so many crashes is a suspect until it makes progress."""
        return crashes >= self._first

    def most_beside(self, crashes: int) -> int:
        """How many suspects may run at the same time if one of them has so many crashes."""
        # More than any worker's concurrency is no limit.
        left = min(max(self._max_crashes - 1 - crashes, 0), 10)
        return int(_GROWTH**left)

    def admitted(self, claimed: Sequence[int], executing: Iterable[int]) -> list[int]:
        """The positions of the claimed suspects that may begin beside the suspects that are executed.

        Both are given by their crashes. Suspects with the fewest crashes left come first: they may have the fewest
        others beside them.
        """
        running = list(executing)
        limit = min(map(self.most_beside, running), default=None)
        chosen: list[int] = []
        for position in _most_suspect_first(claimed):
            own = self.most_beside(claimed[position])
            after = own if limit is None else min(limit, own)
            if len(running) + len(chosen) < after:
                limit = after
                chosen.append(position)
        self._pause = _FIRST_PAUSE if chosen else min(2 * self._pause, _LONGEST_PAUSE)
        return sorted(chosen)

    def delays(self, postponed: Sequence[int]) -> list[float]:
        """Seconds until each of the postponed suspects, given by their crashes, is due again.

        The suspects of a group are due together, as many as may run at the same time, so that few are postponed twice.
        """
        delays, groups = [0.0] * len(postponed), 0.0
        for position in _most_suspect_first(postponed):
            delays[position] = min(self._pause * (1 + int(groups)), _LONGEST_DELAY)
            groups += 1 / self.most_beside(postponed[position])
        return delays


def _most_suspect_first(suspects: Sequence[int]) -> list[int]:
    return sorted(range(len(suspects)), key=lambda position: -suspects[position])
