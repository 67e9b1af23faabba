"""Run the programs on LangGraph, as they were written, and on durable_graph, with their import lines changed.

python -m tests.programs.peers [PROGRAM ...]

Exit code 0 if each prints the recorded line on both. LangGraph has to be installed: `make peers` sees to it.
"""

import sys
from collections.abc import Sequence

from tests.programs.fork_server import Ended, fork_server
from tests.programs.imports import rewritten
from tests.programs.recorded import PROGRAMS, line_of, source_of


def verdict(ended: Ended, expected: str) -> str:
    """One or two words, or where the printed line begins to differ."""
    if ended.has_failed:
        return f"FAILS: {ended.stderr.splitlines()[-1]}"
    if ended.printed == expected:
        return "same line"
    pairs = zip(f"{ended.printed}\0", f"{expected}\0", strict=False)
    at = next((place for place, (found, wanted) in enumerate(pairs) if found != wanted), 0)
    return f"DIFFERS: {ended.printed[at : at + 40]!r} and not {expected[at : at + 40]!r}"


def main(chosen: Sequence[str]) -> int:
    """Print a table. The result is the exit code."""
    if unknown := set(chosen) - set(PROGRAMS):
        print(f"There is no program {', '.join(sorted(unknown))}. There are: {', '.join(PROGRAMS)}", file=sys.stderr)
        return 2
    programs = {program: source_of(program) for program in chosen or PROGRAMS}
    ported = {program: rewritten(source) for program, source in programs.items()}

    differing = 0
    print(f"{'program':22}{'LangGraph':12}durable_graph")
    with fork_server(programs.values()) as langgraph, fork_server(ported.values()) as ours:
        for program, source in programs.items():
            expected = line_of(program)
            found = [
                verdict(langgraph.run(source), expected),
                verdict(ours.run(ported[program]), expected),
            ]
            differing += any(text != "same line" for text in found)
            print(f"{program:22}{found[0]:12}{found[1]}", flush=True)
    print(f"{len(programs) - differing} of {len(programs)} programs print the recorded line on both.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
