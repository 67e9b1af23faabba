"""Decoding of many lists of one instance each, the form in which a channel of messages stores its updates.

A long thread has thousands of such lists, and each load of the thread decodes all of them. To save time, the list and
the tag are not decoded: the bytes before the data of the instance are compared, and only the data is decoded.
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
"""Levels of lists and dicts in the data of an instance. Deeper data is decoded by `decode_one`."""

_MAX_TAG: Final = 31
"""Bytes. MessagePack stores the length of a string in its first byte only up to this length."""


def _plain(levels: int) -> Any:
    scalars = None | bool | int | float | str
    if not levels:
        return scalars
    inner = _plain(levels - 1)
    return scalars | list.__class_getitem__(inner) | dict.__class_getitem__((str, inner))


ReadAll = Callable[[Sequence[bytes]], list[Any]]
"""A function from the bytes of many values to the values."""


def lone_reader(plan: Plan, start: bytes, decode_one: Callable[[bytes], Any]) -> ReadAll | None:
    """A decoder of many values, if the type is a list of instances that have a `StoredType`, else None.

    `start` is the prefix of the bytes of every value. `decode_one` decodes all values other than a list of one
    instance with plain data, and raises the errors of bytes that cannot be decoded.
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
                # The bytes are truncated, have another tag or data that is not plain, or the class refuses the data.
                value = decode_one(data)
            values.append(value)
        return values

    return read


def _before_data(tag: str) -> bytes:
    """The bytes before the data in a packed list of one instance with this tag."""
    return pack([[TAGGED, tag, None]])[:-1]
