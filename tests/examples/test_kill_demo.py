"""The kill demo proves its claims, and its verdict can be negative."""

import json
import shutil
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from durable_graph import CompiledGraph
from durable_graph_sqlite import SqliteSaver
from examples.kill_demo import __main__ as story
from examples.kill_demo.figures import FileFigures, figures_of
from examples.kill_demo.graph import Analysis
from examples.kill_demo.ledger import Entry, Ledger, read_ledger
from examples.kill_demo.process import ChildFailedError, Progress, child, watch
from examples.kill_demo.proof import AT_THE_KILL, UNINTERRUPTED, AtTheKill, judge, keep
from examples.kill_demo.report import report_on
from examples.kill_demo.run import Run
from examples.kill_demo.screen import Screen

RunExample = Callable[..., CompletedProcess[str]]
STDLIB = Path(sysconfig.get_path("stdlib"))

CLAIMS = [
    "the kill fell inside a superstep",
    "what was recorded had really run",
    "no recorded task ran again",
    "nothing was left out",
    "the report is that of an uninterrupted run, byte for byte",
]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A folder with real files to analyse: enough for a long superstep."""
    folder = tmp_path / "sources"
    for package in ("json", "email", "asyncio"):
        shutil.copytree(STDLIB / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def shown(sources: Path, tmp_path: Path, run_example: RunExample) -> CompletedProcess[str]:
    """A finished run of the demo."""
    return run_example("kill_demo", sources, "--output", tmp_path / "output")


def evidence(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "output").iterdir()
    return folder


def verdicts(ended: CompletedProcess[str]) -> dict[str, str]:
    lines = [line.split(":")[0] for line in ended.stdout.splitlines()]
    return {claim: line.split()[0] for line in lines for claim in CLAIMS if line.endswith(claim)}


def test_a_killed_analysis_continues_without_running_a_recorded_task_again(
    shown: CompletedProcess[str], sources: Path, tmp_path: Path, run_example: RunExample
) -> None:
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "SIGKILL to process" in shown.stdout
    assert "ainvoke(None" in shown.stdout
    assert "PROVEN" in shown.stdout
    assert "FAILS" not in shown.stdout
    # No terminal, no animation.
    assert "\x1b" not in shown.stdout

    kill = AtTheKill(**json.loads((evidence(tmp_path) / AT_THE_KILL).read_text()))
    tasks = len(kill.recorded) + len(kill.unrecorded)
    assert 0.4 * tasks <= len(kill.recorded) < tasks
    assert f"{len(kill.recorded)} of its {tasks} tasks were recorded" in shown.stdout
    report = (evidence(tmp_path) / f"{kill.thread}.report.txt").read_text()
    assert report.startswith(f"{sources}\n{sum(1 for _ in sources.rglob('*.py'))} files, ")

    checked = run_example("kill_demo.proof", evidence(tmp_path))
    assert checked.returncode == 0
    assert verdicts(checked) == dict.fromkeys(CLAIMS, "holds")


def test_a_task_that_ran_twice_fails_the_demo(
    shown: CompletedProcess[str], tmp_path: Path, run_example: RunExample
) -> None:
    assert shown.returncode == 0, shown.stdout + shown.stderr
    kill = AtTheKill(**json.loads((evidence(tmp_path) / AT_THE_KILL).read_text()))
    with Ledger(evidence(tmp_path) / f"{kill.thread}.ledger.txt").task(kill.recorded[0]):
        pass

    checked = run_example("kill_demo.proof", evidence(tmp_path))

    assert checked.returncode == 1
    assert verdicts(checked) == {**dict.fromkeys(CLAIMS, "holds"), "no recorded task ran again": "FAILS"}


def test_a_report_that_differs_fails_the_demo(
    shown: CompletedProcess[str], tmp_path: Path, run_example: RunExample
) -> None:
    assert shown.returncode == 0, shown.stdout + shown.stderr
    with (evidence(tmp_path) / f"{UNINTERRUPTED}.report.txt").open("a") as report:
        report.write(" ")

    checked = run_example("kill_demo.proof", evidence(tmp_path))

    assert checked.returncode == 1
    assert verdicts(checked) == {**dict.fromkeys(CLAIMS, "holds"), CLAIMS[-1]: "FAILS"}


def test_too_few_files_are_refused_with_a_message(tmp_path: Path, run_example: RunExample) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")

    ended = run_example("kill_demo", tmp_path, "--output", tmp_path / "output")

    assert ended.returncode == 2
    assert "has 1 Python files; the demo needs" in ended.stdout


def test_the_exit_status_is_that_of_the_verdict(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def leave_forged_evidence(folder: Path, output: Path, screen: Screen) -> Run:
        killed, whole = (Run(output, thread, folder) for thread in (KILL.thread, UNINTERRUPTED))
        again = (*BEFORE, *AFTER, Entry("start", "a"))
        killed.ledger.write_text("".join(f"{entry.event} {entry.task_id}\n" for entry in again))
        killed.report.write_text("report")
        whole.report.write_text("report")
        keep(KILL, output)
        return killed

    monkeypatch.setattr(story, "run_kill_and_resume", leave_forged_evidence)

    assert story.main(sources, tmp_path, Screen()) == 1
    assert "NOT PROVEN" in capsys.readouterr().out


async def test_a_kill_that_came_too_late_is_repeated_on_a_new_thread(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_and_kill = story.start_and_kill
    late = iter([True, False])

    async def start_and_kill_once_late(graph: CompiledGraph[Analysis], run: Run, screen: Screen) -> None:
        if next(late):
            await story.run_to_the_end(run, "First", screen)
        else:
            await start_and_kill(graph, run, screen)

    monkeypatch.setattr(story, "start_and_kill", start_and_kill_once_late)

    run = await story.kill_midway(sources, tmp_path, Screen())

    assert run is not None
    assert run.thread == "killed-2"
    assert "Attempt 1: the superstep was over" in capsys.readouterr().out


async def test_the_error_for_a_child_that_fails_by_itself_shows_its_message(tmp_path: Path) -> None:
    run = Run(tmp_path, "t", tmp_path)
    run.store.write_text("this is no database, whatever its name says")

    async with SqliteSaver(tmp_path / "other.db") as saver, child(run) as process:
        graph = story.graph_of(run, saver)
        with pytest.raises(ChildFailedError, match="StoreConfigurationError"):
            await watch(process, graph, run, until=lambda seen: seen.is_midway, show=lambda seen: None)


# The verdict on values

KILL = AtTheKill(thread="t", committed=["list"], recorded=["a"], unrecorded=["b", "c"], entries=5)
BEFORE = (
    Entry("start", "list"),
    Entry("done", "list"),
    Entry("start", "a"),
    Entry("done", "a"),
    Entry("start", "b"),
)
AFTER = (Entry("start", "b"), Entry("done", "b"), Entry("start", "c"), Entry("done", "c"))


def failing(kill: AtTheKill, ledger: tuple[Entry, ...], report: bytes | None = b"r") -> list[str]:
    return [check.claim for check in judge(kill, ledger, report, b"r") if not check.holds]


def test_a_task_that_was_running_at_the_kill_may_run_again() -> None:
    assert failing(KILL, BEFORE + AFTER) == []


@pytest.mark.parametrize("task", ["a", "list"])
def test_a_recorded_task_that_only_started_again_is_detected(task: str) -> None:
    assert failing(KILL, (*BEFORE, *AFTER, Entry("start", task))) == ["no recorded task ran again"]


def test_a_recorded_task_that_ran_twice_before_the_kill_is_detected() -> None:
    twice = (*BEFORE, Entry("start", "a"), *AFTER)

    assert failing(replace(KILL, entries=6), twice) == ["no recorded task ran again"]


def test_a_recorded_task_that_never_ran_is_detected() -> None:
    assert failing(KILL, BEFORE[:2] + BEFORE[4:] * 3 + AFTER) == [
        "what was recorded had really run",
        "no recorded task ran again",
    ]


def test_an_unrecorded_task_that_never_ran_is_detected() -> None:
    assert failing(KILL, BEFORE + AFTER[:2]) == ["nothing was left out"]


@pytest.mark.parametrize("report", [b"other", b"", None])
def test_a_different_or_missing_report_is_detected(report: bytes | None) -> None:
    assert failing(KILL, BEFORE + AFTER, report) == [CLAIMS[-1]]


def test_missing_reports_of_both_runs_are_no_proof() -> None:
    assert not all(check.holds for check in judge(KILL, BEFORE + AFTER, None, None))


@pytest.mark.parametrize(("recorded", "unrecorded"), [([], ["a", "b", "c"]), (["a", "b", "c"], [])])
def test_a_kill_outside_of_a_superstep_proves_nothing(recorded: list[str], unrecorded: list[str]) -> None:
    kill = replace(KILL, recorded=recorded, unrecorded=unrecorded)

    assert "the kill fell inside a superstep" in failing(kill, BEFORE + AFTER)


@pytest.mark.parametrize(
    ("recorded", "planned", "midway"), [(0, 0, False), (3, 10, False), (4, 10, True), (9, 10, True), (10, 10, False)]
)
def test_the_kill_comes_once_two_fifths_but_not_all_of_the_tasks_are_recorded(
    recorded: int, planned: int, *, midway: bool
) -> None:
    assert Progress(recorded, planned).is_midway is midway


# Parts of the demo


def test_a_node_that_raises_leaves_no_done_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")

    with ledger.task("a"):
        pass
    with pytest.raises(ZeroDivisionError), ledger.task("b"):
        _ = 1 / 0

    assert read_ledger(tmp_path / "ledger") == (Entry("start", "a"), Entry("done", "a"), Entry("start", "b"))


def test_figures_describe_the_file(tmp_path: Path) -> None:
    source = (
        'import os, os.path\nfrom json import loads\n\nclass A:\n    def f(self):\n        "doc"\n        return os\n'
    )
    (tmp_path / "a.py").write_text(source)

    assert figures_of(tmp_path, "a.py") == FileFigures(
        "a.py",
        lines=7,
        functions=1,
        documented=1,
        classes=1,
        longest_function="f",
        longest_function_lines=3,
        imports=["json", "os"],
        names=["os"],
    )


def test_a_file_with_invalid_python_is_reported_and_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def (:\n")

    figures = figures_of(tmp_path, "a.py")

    assert figures.problem is not None
    assert f"a.py: {figures.problem}" in report_on("folder", [figures])


def test_the_report_does_not_depend_on_the_order_of_the_figures() -> None:
    figures = [FileFigures(f"{n}.py", lines=n % 3, imports=[f"m{n % 2}"], names=[f"n{n}"]) for n in range(12)]

    assert report_on("folder", figures) == report_on("folder", figures[::-1])
