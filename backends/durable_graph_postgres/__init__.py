"""The PostgreSQL backend of durable_graph."""

import typing

from durable_graph_postgres.saver import PostgresSaver

if not typing.TYPE_CHECKING:
    # With a visible `__getattr__`, type checkers would accept every name.
    from durable_graph.errors.elsewhere import module_attribute as _attribute_of

    __getattr__ = _attribute_of(__name__)

__all__ = ["PostgresSaver"]
