"""Storing instances of classes that the codec does not support itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from durable_graph.errors import InvalidOptionError

ValueT = TypeVar("ValueT")

OWN_PREFIX: Final = "durable_graph."
"""The prefix of the tags of the library's own classes."""

_MAX_TAG: Final = 255


@dataclass(frozen=True, slots=True)
class StoredType(Generic[ValueT]):
    """Defines how instances of a class that the codec does not support are stored, for `compile(types=[...])`.

    `encode` converts an instance to plain data: numbers, strings, bytes, lists, dicts, or instances of other classes
    that can be stored. `decode` makes the instance of that data. The data is stored under `tag`, which must never
    change, and `decode` has to read all data that `encode` ever made. Instances of subclasses are stored in the same
    way if `decode` restores their class.

    Each value is checked before it is stored: the instance from `decode` must have the same class, must be equal if the
    class compares its instances, and `encode` must make the same data of it. `is_proven` omits this check, which costs
    more than the storing: for a package whose own tests prove its functions.

    Raises `InvalidOptionError` for a `cls` that is no class, for a tag that is empty, has more than 255 bytes or begins
    with `durable_graph.`.
    """

    cls: type[ValueT]
    tag: str
    encode: Callable[[ValueT], Any]
    decode: Callable[[Any], ValueT]
    is_proven: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type) or self.cls in (object, type):
            raise InvalidOptionError("cls of a StoredType", self.cls, allowed="the class whose instances are stored")
        if not is_tag(self.tag):
            allowed = f"a str of 1 to {_MAX_TAG} bytes that does not begin with {OWN_PREFIX!r}"
            raise InvalidOptionError(f"tag of the StoredType of {self.cls.__qualname__}", self.tag, allowed=allowed)
        for name, function in (("encode", self.encode), ("decode", self.decode)):
            if not callable(function):
                raise InvalidOptionError(f"{name} of the StoredType {self.tag!r}", function, allowed="a function")


def is_tag(tag: object) -> bool:
    """Whether a user's values may be stored under this tag."""
    if not isinstance(tag, str) or not tag or tag.startswith(OWN_PREFIX):
        return False
    try:
        return len(tag.encode()) <= _MAX_TAG
    except UnicodeEncodeError:
        return False
