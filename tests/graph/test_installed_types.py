"""Entry points by which packages register stored types: read once, and loaded for a graph that names the class."""

import subprocess
import sys
from pathlib import Path

import pytest

ENTRIES = """[durable_graph.types]
fractions.Fraction = brought:FRACTION
shop.Order = brought:ORDER
shop.Broken = missing_module:BROKEN
shop.Other = brought:FRACTION
shop.Nothing = brought:__name__
shop.Ticket = tickets:TICKET
"""
BROUGHT = """
from fractions import Fraction
import shop
from durable_graph import StoredType
FRACTION = StoredType(Fraction, "fraction", str, Fraction)
ORDER = StoredType(shop.Order, "order", lambda order: order.price, shop.Order)
"""
SHOP = """
class Order:
    def __init__(self, price): self.price = price
    def __eq__(self, other): return type(self) is type(other) and self.price == other.price
class Special(Order): pass
class Broken: pass
class Other: pass
class Nothing: pass
class Ticket(Order): pass
"""
TICKETS = """
import shop
from durable_graph import START, StateGraph, StoredType
from typing import TypedDict
TICKET = StoredType(shop.Ticket, "ticket", lambda ticket: ticket.price, shop.Ticket)
State = TypedDict("State", {"ticket": shop.Ticket})
GRAPH = StateGraph(State).add_node("node", lambda _: {}).add_edge(START, "node").compile()
"""
START = """
import sys
from fractions import Fraction
from typing import Any, TypedDict
import shop
from durable_graph import START, GraphValidationError, StateGraph
from importlib import metadata
reads = []
found = metadata.entry_points
def counted(group, name=None):
    reads.append(group)
    return found(group=group)
from durable_graph.app import installed_types
installed_types.entry_points = counted
def compiled(declared, **options):
    builder = StateGraph(TypedDict("State", {"value": declared}, total=False))
    builder.add_node("node", lambda _: {})
    builder.add_edge(START, "node")
    return builder.compile(**options).topology
def round_trips(codec, value):
    return codec.decode(codec.encode(value)) == value
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory with a distribution as pip installs one."""
    metadata = tmp_path / "some_types-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some-types\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    (tmp_path / "brought.py").write_text(BROUGHT)
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "tickets.py").write_text(TICKETS)
    return tmp_path


def run(site: Path, program: str) -> str:
    command = [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(site)!r})\n{START}{program}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_graph_without_installed_types_neither_reads_nor_loads_entry_points(site: Path) -> None:
    program = """
compiled(dict[str, Any])
print(len(reads), "brought" in sys.modules)
"""
    assert run(site, program) == "0 False\n"


def test_a_declared_class_is_stored_by_the_stored_type_of_its_package(site: Path) -> None:
    program = """
graph = compiled(list[Fraction | None])
print(round_trips(graph.codecs["value"].value, [Fraction(1, 3), None]), round_trips(graph.argument, Fraction(1, 3)))
compiled(shop.Order)
compiled(Fraction)
print(len(reads))
"""
    assert run(site, program) == "True True\n1\n"


def test_a_listed_class_may_be_stored_in_a_channel_of_type_any(site: Path) -> None:
    program = """
print(round_trips(compiled(Any, types=[Fraction, shop.Order]).codecs["value"].value, [Fraction(1, 3), shop.Order(5)]))
codec = compiled(Any, types=[("former", shop.Order), shop.Order]).codecs["value"].value
print(round_trips(codec, shop.Order(5)))
"""
    assert run(site, program) == "True\nTrue\n"


def test_a_stored_type_of_the_graph_takes_precedence_over_that_of_a_package(site: Path) -> None:
    program = """
from durable_graph import StoredType
own = StoredType(Fraction, "own", str, Fraction)
print(b"own" in compiled(Fraction, types=[own]).codecs["value"].value.encode(Fraction(1, 3)), "brought" in sys.modules)
"""
    assert run(site, program) == "True False\n"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Broken", """cannot be loaded: ModuleNotFoundError("No module named 'missing_module'")"""),
        ("Other", "is not a StoredType of the class"),
        ("Nothing", "is not a StoredType of the class"),
    ],
)
def test_an_entry_point_without_a_stored_type_is_named_in_the_error(site: Path, name: str, words: str) -> None:
    program = f"""
for options in ({{"declared": shop.{name}}}, {{"declared": Any, "types": [shop.{name}]}}):
    try:
        compiled(**options)
    except GraphValidationError as error:
        (problem,) = error.problems
        print(len(problem) <= 400, problem)
"""
    lines = run(site, program).splitlines()
    assert len(lines) == 2
    named = f"the entry point 'shop.{name}' (durable_graph.types) of some-types {words}"
    assert all(line.startswith("True ") and named in line for line in lines)


def test_decoding_stored_data_loads_no_entry_point(site: Path) -> None:
    program = """
from durable_graph.errors import DecodeError
data = compiled(Fraction).codecs["value"].value.encode(Fraction(1, 3))
from durable_graph.app import installed_types
installed_types._loaded.clear()
sys.modules.pop("brought")
try:
    compiled(Any).codecs["value"].value.decode(data)
except DecodeError as error:
    print(error.why.split(";")[0], "brought" in sys.modules)
"""
    assert run(site, program) == "the tag 'fraction' belongs to none of the declared types False\n"


def test_threads_that_compile_concurrently_read_the_entry_points_once(site: Path) -> None:
    program = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool:
    made = list(pool.map(lambda _: compiled(Fraction).codecs["value"].value, range(32)))
print(len(reads), all(round_trips(each, Fraction(1, 3)) for each in made))
"""
    assert run(site, program) == "1 True\n"


def test_a_package_may_compile_graphs_of_its_own_while_it_is_loaded(site: Path) -> None:
    program = """
print(round_trips(compiled(shop.Ticket).codecs["value"].value, shop.Ticket(5)))
"""
    assert run(site, program) == "True\n"
