"""The path of a superstep is no longer than the table in budgets.py allows."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.path.budgets import BUDGETS, LIBRARY, PYTHON, Budget
from tests.postgres.server import started

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != PYTHON,
    reason=f"the budgets are for Python {PYTHON[0]}.{PYTHON[1]}, other versions have other counts",
)

STORES = ["none", "memory", "sqlite", "postgres"]

QUIET = {"full_page_writes": "off", "autovacuum": "off", "checkpoint_timeout": "1d", "max_wal_size": "10GB"}
"""Settings of a server whose log has the writes of its clients and nothing else."""


@pytest.fixture(scope="module")
def measured() -> Any:
    """The figures, counted in another process, without the checks that tests switch on."""
    environment = {name: value for name, value in os.environ.items() if name != "DURABLE_GRAPH_DEBUG"}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    with started(settings=QUIET) as server:
        command = [sys.executable, "-m", "tests.path", "none", "memory", "sqlite", f"postgres={server.url}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check(what: str, figure: float, budget: Budget) -> None:
    assert figure <= budget.today * 1.01 + 0.02, f"{what}: {figure}, and the budget is {budget.today}"
    assert figure >= budget.today * 0.98 - 0.02, f"{what}: {figure}. Tighten its budget of {budget.today}"


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", BUDGETS)
def test_a_figure_of_a_superstep_is_within_its_budget(measured: Any, shape: str, store: str) -> None:
    figures = measured[store][shape]

    assert set(figures) == {name for name, budgets in BUDGETS[shape].items() if store in budgets}
    for name, figure in figures.items():
        check(f"{shape}, {store}: {name}", figure, BUDGETS[shape][name][store])


@pytest.mark.parametrize("name", LIBRARY)
def test_a_figure_of_the_library_is_within_its_budget(measured: Any, name: str) -> None:
    check(name, measured["library"][name], LIBRARY[name])


def test_a_figure_outside_its_budget_is_named() -> None:
    with pytest.raises(AssertionError, match="calls: 103, and the budget is 100"):
        check("calls", 103, Budget(100))
    with pytest.raises(AssertionError, match="Tighten its budget of 100"):
        check("calls", 90, Budget(100))
