"""The record of one run of the benchmarks, as it is written to JSON, and the ratios that follow from it."""

import statistics
from typing import Final, Literal, NamedTuple

import msgspec

OURS: Final = "durable_graph"
LANGGRAPH: Final = "LangGraph"
FLOOR: Final = "floor"
SKELETON: Final = "skeleton"

Unit = Literal["us", "ms", "bytes", "MB"]
Flush = Literal["none", "disk", "simulated"]
Clock = Literal["elapsed", "CPU"]


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a table: the figures of each contender, one for each round.

    `of` is what a figure is for: a superstep, a task, a read. Figures of one round were measured one after the other.
    `clock` is "CPU" for the CPU time of all threads of the process.
    """

    question: str
    work: str
    of: str
    unit: Unit = "us"
    flush: Flush = "none"
    clock: Clock = "elapsed"
    samples: dict[str, list[float]]

    @property
    def is_compared(self) -> bool:
        """Whether it compares this library with others. The other rows compare variants of one program."""
        return OURS in self.samples and len(self.samples) > 1

    def figure(self, contender: str) -> "Spread":
        return spread(self.samples[contender])

    def ratio(self, contender: str, base: str) -> "Spread | None":
        """How many times the figure of `base`: of each round, as the load of the machine changes from round to round.

        None if a figure of `base` is not above zero, which the difference of two times may be.
        """
        if min(self.samples[base]) <= 0:
            return None
        pairs = zip(self.samples[contender], self.samples[base], strict=True)
        return spread([own / other for own, other in pairs])


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Where and when the rows were measured. `flushes` are the microseconds that one flush of a small write takes."""

    date: str
    commit: str
    is_modified: bool
    seconds: int
    machine: dict[str, str]
    versions: dict[str, str]
    flushes: dict[str, float]


class Record(msgspec.Struct, frozen=True, kw_only=True):
    run: Run
    rows: list[Row]

    def to_json(self) -> bytes:
        """JSON with one line for each contender of a row."""
        return msgspec.json.encode(self).replace(b'{"question"', b'\n{"question"').replace(b'],"', b'],\n "') + b"\n"


def record_of(data: bytes) -> Record:
    return msgspec.json.decode(data, type=Record)


class Spread(NamedTuple):
    """The median, between the lower and the upper quartile."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))
