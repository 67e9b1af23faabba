"""How instances of a class that is none of the user's own are stored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from durable_graph.errors import InvalidOptionError

ValueT = TypeVar("ValueT")

OWN_PREFIX: Final = "durable_graph."
"""What the tags of the library's own classes begin with."""

_MAX_TAG: Final = 255


@dataclass(frozen=True, slots=True)
class StoredType(Generic[ValueT]):
    """A way to store instances of a class that the codec does not know, for `compile(types=[...])`.

    `encode` makes plain data of an instance: numbers, strings, bytes, lists, dicts, or instances of other classes that
    can be stored. `decode` makes the instance of that data. The data is stored under `tag`, which must never change,
    and `decode` has to read all data that `encode` ever made. Instances of subclasses are stored in the same way where
    they come back as what they were.

    Each value is checked before it is stored: what `decode` makes of its data has to be of the same class, equal where
    the class compares its instances, and `encode` has to make the same data of it again. With `is_proven` that check,
    which costs more than storing itself, is left out: for a package whose own tests prove its functions.

    Raises `InvalidOptionError` for a `cls` that is no class, an empty tag or one of more than 255 bytes, and for a tag
    that begins with `durable_graph.`.
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
    """Whether values of a user may be stored under this tag."""
    if not isinstance(tag, str) or not tag or tag.startswith(OWN_PREFIX):
        return False
    try:
        return len(tag.encode()) <= _MAX_TAG
    except UnicodeEncodeError:
        return False
