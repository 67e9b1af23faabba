"""The PostgreSQL backend of durable_graph."""

import typing

from durable_graph_postgres.saver import PostgresSaver

if not typing.TYPE_CHECKING:
    # A checker that saw it would take every name for one that is there.
    from durable_graph.errors.elsewhere import module_attribute as _attribute_of

    __getattr__ = _attribute_of(__name__)

__all__ = ["PostgresSaver"]
