"""Many lists of one instance each, as a channel of messages stores what is written to it.

A thread has thousands of them, and all are read whenever it is loaded. So nothing is made of what is around the
instance: the bytes before its data are compared, and the data, if it is plain, is read by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.msgpack import Decoder

from durable_graph.codec.foreign import StoredShape
from durable_graph.codec.plan import Plan
from durable_graph.codec.registry import ObjectPlan
from durable_graph.codec.sequences import ListPlan
from durable_graph.codec.wire import TAGGED, pack

_LEVELS: Final = 5
"""Of lists and dicts in the data of an instance. What nests deeper is read as everything else is."""

_MAX_TAG: Final = 31
"""Bytes. Only the tags up to this length have it in their first byte."""


def _plain(levels: int) -> Any:
    scalars = None | bool | int | float | str
    if not levels:
        return scalars
    inner = _plain(levels - 1)
    return scalars | list.__class_getitem__(inner) | dict.__class_getitem__((str, inner))


ReadAll = Callable[[Sequence[bytes]], list[Any]]
"""From the bytes of many values to the values."""


def lone_reader(plan: Plan, start: bytes, decode_one: Callable[[bytes], Any]) -> ReadAll | None:
    """What reads the values of many bytes, if the type is a list of instances that have a `StoredType`.

    `start` is how the bytes of every value begin. `decode_one` reads what is anything else than a list of one instance
    with plain data, and says what is wrong with what cannot be read.
    """
    if not isinstance(plan, ListPlan) or not isinstance(plan.item, ObjectPlan):
        return None
    known: dict[bytes, tuple[type, Callable[[Any], Any]]] = {
        start + _before_data(shape.tag): (shape.cls, shape.stored.decode)
        for shape in plan.item.shapes()
        if isinstance(shape, StoredShape) and len(shape.tag.encode()) <= _MAX_TAG
    }
    if not known:
        return None
    tag_at = len(start) + len(_before_data("")) - 1
    read_plain = Decoder(_plain(_LEVELS)).decode

    def read(datas: Sequence[bytes]) -> list[Any]:
        values: list[Any] = []
        for data in datas:
            try:
                end = tag_at + 1 + (data[tag_at] & _MAX_TAG)
                cls, decode = known[data[:end]]
                made = decode(read_plain(data[end:]))
                value = [made] if type(made) is cls else decode_one(data)
            except Exception:
                # Cut short, with another tag, not plain, or nothing that the class takes.
                value = decode_one(data)
            values.append(value)
        return values

    return read


def _before_data(tag: str) -> bytes:
    """How a packed list of one instance with this tag begins: all before its data."""
    return pack([[TAGGED, tag, None]])[:-1]
