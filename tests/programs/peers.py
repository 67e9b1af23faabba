"""Run the programs on LangGraph, unchanged, and on durable_graph, with their import lines changed.

python -m tests.programs.peers [PROGRAM ...]

The exit code is 0 if each program prints the recorded line on both. The program "guide" is the program in the migration
guide: its two versions have to print the same lines. LangGraph has to be installed: `make peers` installs it.
"""

import sys
from collections.abc import Sequence

from tests.programs.fork_server import Ended, fork_server
from tests.programs.imports import before_and_after, rewritten
from tests.programs.recorded import PROGRAMS, line_of, source_of


def verdict(ended: Ended, expected: str) -> str:
    """The verdict in one or two words, or the part of the printed line that differs."""
    if ended.has_failed:
        return f"FAILS: {ended.stderr.splitlines()[-1]}"
    if ended.printed == expected:
        return "same line"
    pairs = zip(f"{ended.printed}\0", f"{expected}\0", strict=False)
    at = next((place for place, (found, wanted) in enumerate(pairs) if found != wanted), 0)
    return f"DIFFERS: {ended.printed[at : at + 40]!r} and not {expected[at : at + 40]!r}"


def main(chosen: Sequence[str]) -> int:
    """Print a table. The result is the exit code."""
    pairs = {program: (source_of(program), rewritten(source_of(program))) for program in PROGRAMS}
    pairs["guide"] = before_and_after()
    if unknown := set(chosen) - set(pairs):
        print(f"There is no program {', '.join(sorted(unknown))}. There are: {', '.join(pairs)}", file=sys.stderr)
        return 2
    pairs = {program: pair for program, pair in pairs.items() if program in chosen or not chosen}

    differing = 0
    print(f"{'program':22}{'LangGraph':12}durable_graph")
    theirs, ported = zip(*pairs.values(), strict=True)
    with fork_server(theirs) as langgraph, fork_server(ported) as durable_graph:
        for program, (before, after) in pairs.items():
            there, here = langgraph.run(before), durable_graph.run(after)
            expected = here.printed if program == "guide" else line_of(program)
            found = [verdict(there, expected), verdict(here, expected)]
            differing += any(text != "same line" for text in found)
            print(f"{program:22}{found[0]:12}{found[1]}", flush=True)
    print(f"{len(pairs) - differing} of {len(pairs)} programs print the same on both.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
