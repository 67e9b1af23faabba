"""Measure, and print a line for each row. With `--write`, also write the record, and the page that shows it.

usage: python -m benchmarks [--tiny] [--rounds=N] [--write] [QUESTION ...]

The questions are the files in benchmarks/questions; without one, all are measured. The peers are measured where they
are installed.
"""

import os
import sys
from typing import Final

from benchmarks.flush import disks, is_simulated, with_simulated_flush
from benchmarks.lab import Lab
from benchmarks.langchain import leave_out
from benchmarks.libraries import OURS_LIBRARY
from benchmarks.options import has_unknown
from benchmarks.page import line_of, write
from benchmarks.peers import has_peers, langgraph
from benchmarks.questions import QUESTIONS
from benchmarks.record import Row
from benchmarks.run import measured

_INSIDE: Final = "DURABLE_GRAPH_BENCHMARK"


def report(row: Row) -> None:
    print(line_of(row), flush=True)


def main(arguments: list[str]) -> int:
    if has_unknown(arguments, {"--tiny", "--rounds", "--write"}, __doc__):
        return 2
    options = {argument for argument in arguments if argument.startswith("--")}
    rounds = next((int(option.partition("=")[2]) for option in options if option.startswith("--rounds=")), None)
    chosen = [argument for argument in arguments if argument not in options] or list(QUESTIONS)
    if unknown := set(chosen) - set(QUESTIONS):
        print(f"There is no question {', '.join(sorted(unknown))}. There are: {', '.join(QUESTIONS)}", file=sys.stderr)
        return 2
    if "--write" in options and (len(chosen) < len(QUESTIONS) or not has_peers()):
        print("A record has all questions, and the peers: `make bench-peers`.", file=sys.stderr)
        return 2
    libraries = [OURS_LIBRARY, langgraph()] if has_peers() else [OURS_LIBRARY]
    leave_out()
    with disks() as found:
        if not is_simulated():
            print("No simulated flush: it needs Linux and a C compiler.", file=sys.stderr)
        lab = Lab(libraries, found, is_tiny="--tiny" in options, rounds=rounds, report=report)
        record = measured(lab, chosen)
    if "--write" in options:
        write(record)
    return 0


if __name__ == "__main__":
    if _INSIDE in os.environ:
        sys.exit(main(sys.argv[1:]))
    os.environ[_INSIDE] = "1"
    # What it switches on is for tests.
    os.environ.pop("DURABLE_GRAPH_DEBUG", None)
    sys.exit(with_simulated_flush(["-m", "benchmarks", *sys.argv[1:]]))
