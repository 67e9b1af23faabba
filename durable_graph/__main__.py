"""`python -m durable_graph`: a worker, and the commands of operators. `python -m durable_graph --help` lists them."""

import sys
from importlib.util import find_spec


def main() -> int:
    """Run the command of the command line. Returns the exit code."""
    if find_spec("cyclopts") is None:
        sys.stderr.write("the command line needs another package: pip install durable-graph[cli]\n")
        return 1
    # Here, because it imports what may not be installed.
    from durable_graph.operating.commands import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
