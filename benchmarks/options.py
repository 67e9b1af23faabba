"""The options of the benchmarks' commands."""

import sys
from collections.abc import Iterable


def has_unknown(arguments: Iterable[str], known: set[str], usage: str | None) -> bool:
    """Whether an argument that begins with `--` is no known option. Then a line names it, before the `usage`."""
    given = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    unknown = sorted(given - known)
    if unknown:
        print(f"There is no option {', '.join(unknown)}. {usage}", file=sys.stderr)
    return bool(unknown)
