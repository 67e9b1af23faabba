"""Names for the round trips of a saver."""

from collections.abc import Iterable

from durable_graph_postgres.statements import statements_for


def named(trips: Iterable[str], schema: str) -> list[str]:
    """The names of the statements in the saver's .sql files; the first words of other statements."""
    names = {text: name for name, text in statements_for(schema).items()}
    return [_named(trip, names) for trip in trips]


def _named(trip: str, names: dict[str, str]) -> str:
    text = trip.removeprefix("PREPARE ")
    # A round trip with several statements is named for the first.
    name = names.get(text) or " ".join(text.partition(";")[0].split()[:4])
    return f"prepare {name}" if text != trip else name
