"""From the figures of all files to a page of text. The same figures give the same bytes."""

from collections import Counter
from collections.abc import Iterable, Sequence

from examples.kill_demo.figures import FileFigures

TOP = 5


def report_on(folder: str, figures: Sequence[FileFigures]) -> str:
    """The report as text, whatever the order of the figures."""
    files = sorted(figures, key=lambda each: each.file)
    longest = sorted(files, key=lambda each: (-each.longest_function_lines, each.file))
    largest = sorted(files, key=lambda each: (-each.lines, each.file))
    imports = Counter(module for each in files for module in each.imports)
    names = Counter(name for each in files for name in each.names)
    unread = [f"{each.file}: {each.problem}" for each in files if each.problem]
    sections = [
        f"{folder}\n{_totals(files)}",
        _section("Largest files", (f"{each.lines:>7,} lines  {each.file}" for each in largest[:TOP])),
        _section(
            "Longest functions",
            (
                f"{each.longest_function_lines:>7,} lines  {each.longest_function} in {each.file}"
                for each in longest[:TOP]
            ),
        ),
        _section("Imported by most files", (f"{count:>7,} files  {module}" for module, count in _most(imports))),
        _section("Among the ten names used most", (f"{count:>7,} files  {name}" for name, count in _most(names))),
        _section("Could not be analysed", unread),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _totals(files: Sequence[FileFigures]) -> str:
    return (
        f"{len(files):,} files, {sum(each.lines for each in files):,} lines, "
        f"{sum(each.classes for each in files):,} classes, {sum(each.functions for each in files):,} functions, "
        f"{sum(each.documented for each in files):,} of them documented"
    )


def _most(counted: Counter[str]) -> list[tuple[str, int]]:
    # Counter.most_common leaves equal counts in the order in which they were met.
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:TOP]


def _section(title: str, lines: Iterable[str]) -> str:
    listed = list(lines)
    return "\n".join([title, *(f"  {line}" for line in listed)]) if listed else ""
