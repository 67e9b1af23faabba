"""What is seen of the demo. On a terminal a bar moves; elsewhere every line is written once."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.syntax import Syntax
from rich.table import Table

from examples.kill_demo.child import run_or_resume
from examples.kill_demo.process import Progress
from examples.kill_demo.proof import AtTheKill, Check

WIDTH = 100


class Screen:
    """The chapters of the story, one method each."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(width=WIDTH, highlight=False)

    def begins(self, folder: Path, files: int, output: Path) -> None:
        """What is going to run."""
        self._panel(
            "kill -9 in the middle of a superstep",
            f"A graph analyses {files:,} Python files in {folder}:\n\n"
            "  list_files --> analyse, many tasks side by side --> summarise --> write_report\n\n"
            "A process runs it and is killed while the analyses run. A second process makes the same call.\n"
            f"State is kept in SQLite. Everything is in {output}",
        )

    @contextmanager
    def progress(self, title: str, pid: int) -> Iterator[Callable[[Progress], None]]:
        """Show how much of the fan-out is recorded, while the block runs."""
        title = f"{title}, process {pid}"
        if not self._console.is_terminal:
            yield _Lines(self._console, title).show
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(40),
            TextColumn("{task.completed} of {task.total} recorded"),
        )
        with Bar(*columns, console=self._console) as bar:
            line = bar.add_task(title, total=None, visible=False)

            def show(progress: Progress) -> None:
                # Before and after the fan-out there is nothing to count.
                if progress.planned:
                    bar.update(line, completed=progress.recorded, total=progress.planned, visible=True)

            yield show

    def missed(self, attempt: int) -> None:
        """The kill came before or after the superstep."""
        self._console.print(
            f"Attempt {attempt}: the superstep was over before the kill came. Again, with a new thread."
        )

    def killed(self, pid: int) -> None:
        """The first process is dead."""
        self._console.print(f"\n[bold red]SIGKILL[/] to process {pid}. No handler ran, no file was closed.\n")

    def survived(self, kill: AtTheKill, begun: int) -> None:
        """What the store and the ledger say, with no process alive."""
        table = Table(title="What survived, read before anything else was started", title_justify="left")
        table.add_column("tasks", justify="right")
        table.add_column("state at the kill")
        table.add_column("so the second process")
        table.add_row(str(len(kill.committed)), "of supersteps that were committed", "leaves them alone")
        table.add_row(str(len(kill.recorded)), "of the open superstep, result recorded", "takes their results")
        table.add_row(str(begun), "begun, no result recorded", "runs them again")
        table.add_row(str(len(kill.unrecorded) - begun), "not begun", "runs them")
        self._console.print(table)

    def resumes(self) -> None:
        """The same call, as it stands in the child."""
        code = inspect.getsource(run_or_resume)
        self._console.print(
            "\nThe second process makes the same call. To resume is `ainvoke(None)`, and there is no more to it:\n"
        )
        self._console.print(Syntax(code, "python", background_color="default", word_wrap=True))

    def compares(self) -> None:
        """The third process has nothing to do with the others."""
        self._console.print("\nThe same analysis once more, on another thread and undisturbed, to compare with:")

    def report(self, text: str) -> None:
        """What the graph was run for."""
        self._panel("The report", text.rstrip())

    def verdict(self, checks: Sequence[Check], output: Path, seconds: float) -> None:
        """The proof."""
        table = Table(title="The proof: the nodes' ledger against what was recorded", title_justify="left")
        table.add_column("")
        table.add_column("claim")
        table.add_column("seen")
        for check in checks:
            table.add_row("[green]holds[/]" if check.holds else "[bold red]FAILS[/]", check.claim, check.seen)
        self._console.print(table)
        holds = all(check.holds for check in checks)
        verdict = "[bold green]PROVEN[/]" if holds else "[bold red]NOT PROVEN[/]"
        self._console.print(f"{verdict} in {seconds:.1f} seconds. Look yourself, or have it checked again:")
        self._console.print(f"  python -m examples.kill_demo.proof {output}", soft_wrap=True)

    def fails(self, message: str) -> None:
        """The demo cannot be shown."""
        self._console.print(message, style="red", markup=False, soft_wrap=True)

    def _panel(self, title: str, text: str) -> None:
        self._console.print(Panel(text, title=title, title_align="left", highlight=False))


class _Lines:
    """A line for the beginning, and one for every quarter that is recorded."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._quarter = -1

    def show(self, progress: Progress) -> None:
        if not progress.planned:
            return
        quarter = 4 * progress.recorded // progress.planned
        if quarter > self._quarter:
            self._quarter = quarter
            self._console.print(f"{self._title}: {progress.recorded} of {progress.planned} analyses recorded")
