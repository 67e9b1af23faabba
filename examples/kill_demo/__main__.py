"""The demo, told by the process that stands outside: `python -m examples.kill_demo [FOLDER]`. Needs `rich`.

It starts the child, kills it while a superstep is half done, reads what was durable, starts the child again, and
compares. Its exit status is 0 if every claim holds, 1 if one does not, 2 if it cannot be shown.
"""

import argparse
import asyncio
import signal
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from durable_graph import CompiledGraph
from durable_graph_sqlite import SqliteSaver
from examples.kill_demo.graph import Analysis, build_graph, source_files
from examples.kill_demo.ledger import Ledger, read_ledger
from examples.kill_demo.process import ChildFailedError, child, watch
from examples.kill_demo.proof import UNINTERRUPTED, judge_output, keep, read_at_the_kill
from examples.kill_demo.run import Run
from examples.kill_demo.screen import Screen

ATTEMPTS = 10
FEWEST_FILES = 10


def main(folder: Path, output: Path, screen: Screen) -> int:
    """The whole story, and the exit status."""
    began = time.monotonic()
    files = source_files(folder)
    if len(files) < FEWEST_FILES:
        screen.fails(f"{folder} has {len(files)} Python files; the demo needs {FEWEST_FILES} to fan out over.")
        return 2
    screen.begins(folder, len(files), output)
    try:
        killed = asyncio.run(run_kill_and_resume(folder, output, screen))
    except ChildFailedError as error:
        screen.fails(str(error))
        return 1
    if killed is None:
        screen.fails(f"None of {ATTEMPTS} kills fell inside the superstep. Take a folder with more to analyse.")
        return 2
    checks = judge_output(output)
    if killed.report.exists():
        screen.report(killed.report.read_text(encoding="utf-8"))
    screen.verdict(checks, output, time.monotonic() - began)
    return 0 if all(check.holds for check in checks) else 1


async def run_kill_and_resume(folder: Path, output: Path, screen: Screen) -> Run | None:
    """The run that was killed and resumed, with one to compare it with beside it. None if no kill fell right."""
    killed = await kill_midway(folder, output, screen)
    if killed is not None:
        screen.resumes()
        await run_to_the_end(killed, "Second", screen)
        screen.compares()
        await run_to_the_end(Run(output, UNINTERRUPTED, folder), "Third", screen)
    return killed


async def kill_midway(folder: Path, output: Path, screen: Screen) -> Run | None:
    """A run whose process was killed inside a superstep. What was durable then is kept in `output`."""
    for attempt in range(1, ATTEMPTS + 1):
        run = Run(output, f"killed-{attempt}", folder)
        async with SqliteSaver(run.store) as saver:
            graph = graph_of(run, saver)
            await start_and_kill(graph, run, screen)
            kill = await read_at_the_kill(graph, run)
        if kill.is_inside_superstep:
            keep(kill, output)
            begun = {entry.task_id for entry in read_ledger(run.ledger)}
            screen.survived(kill, len(begun.intersection(kill.unrecorded)))
            return run
        screen.missed(attempt)
    return None


async def start_and_kill(graph: CompiledGraph[Analysis], run: Run, screen: Screen) -> None:
    """Start the process and kill it as soon as the store has recorded a part of the superstep."""
    async with child(run) as process:
        with screen.progress("First", process.pid) as show:
            is_midway = await watch(process, graph, run, until=lambda seen: seen.is_midway, show=show)
        if is_midway:
            process.send_signal(signal.SIGKILL)
            await process.wait()
            screen.killed(process.pid)


async def run_to_the_end(run: Run, which: str, screen: Screen) -> None:
    """Start the process and let it do what is left to do."""
    async with SqliteSaver(run.store) as saver, child(run) as process:
        with screen.progress(which, process.pid) as show:
            await watch(process, graph_of(run, saver), run, until=lambda _: False, show=show)


def graph_of(run: Run, saver: SqliteSaver) -> CompiledGraph[Analysis]:
    """The child's graph, to read the thread with. It is not run here."""
    return build_graph(Ledger(run.ledger), run.report).compile(saver)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.kill_demo", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(sysconfig.get_path("stdlib")))
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="where a folder for this demo is made")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = Path(tempfile.mkdtemp(prefix="run-", dir=arguments.output))
    sys.exit(main(arguments.folder.resolve(), output, Screen()))
