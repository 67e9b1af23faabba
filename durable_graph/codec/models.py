"""Pydantic models and annotation classes, recognised by attributes and names: this module never imports pydantic.

A model is restored without validation, as by `model_construct`: validators may change or refuse a value that they
accepted before, and values that were set after validation need not pass it. The stored parts are the fields, the names
of the set fields, the extra fields of `extra="allow"`, and private attributes; the latter two are stored like values of
type `Any`.
"""

import inspect
from datetime import date, datetime
from typing import Any, Final

from durable_graph.codec.plan import KEEP_OUT, SHORTCUTS, Mismatch, Plan, Refusal, TooDeep, WireType, mismatch
from durable_graph.codec.records import FieldsShape
from durable_graph.codec.wire import MODEL, joined, key_of

_MORE: Final = ("__pydantic_extra__", "__pydantic_private__")
"""The attributes in which an instance keeps its extra fields and private attributes."""


def is_model(cls: type) -> bool:
    return hasattr(cls, "__pydantic_fields__") and hasattr(cls, "__pydantic_private__")


HELD: Final[dict[str, Any]] = {
    **dict.fromkeys(("AwareDatetime", "NaiveDatetime", "PastDatetime", "FutureDatetime"), datetime),
    **dict.fromkeys(("PastDate", "FutureDate"), date),
    "EmailStr": str,
    "Json": Any,
}
"""Classes of pydantic for annotations only, by name, and the types of the annotated values."""

OWN_OBJECTS: Final[dict[str, str]] = {
    **dict.fromkeys(("NameEmail", "IPvAnyAddress", "IPvAnyInterface", "IPvAnyNetwork", "ImportString"), "str"),
    # The base classes of all URLs and data sources, before and since pydantic 2.10.
    **dict.fromkeys(("_BaseUrl", "_BaseMultiHostUrl", "Url", "MultiHostUrl", "PaymentCardNumber"), "str"),
    "ByteSize": "int",
}
"""Classes of pydantic whose values are instances of pydantic's classes, by name, and the plain type to use instead."""


def held_by(cls: type) -> Any | None:
    """The type of the values of a pydantic annotation class, such as datetime for `AwareDatetime`."""
    return next((HELD[name] for name in _names_in_pydantic(cls) if name in HELD), None)


def remedy_for(cls: type) -> str | None:
    """The type to declare instead of a class of pydantic whose values are not stored; None for any other class."""
    names = _names_in_pydantic(cls)
    if "_SecretBase" in names:
        return (
            f"declare the key as Annotated[{cls.__name__}, UntrackedValue], which is never stored, or hold a plain str"
        )
    plain = next((OWN_OBJECTS[name] for name in names if name in OWN_OBJECTS), None)
    return None if plain is None else f"declare {plain}, and convert the value with {plain}(...)"


def _names_in_pydantic(cls: type) -> list[str]:
    return [base.__name__ for base in cls.__mro__ if base.__module__.partition(".")[0] in ("pydantic", "pydantic_core")]


class ModelShape(FieldsShape):
    """A pydantic model: a map of its fields if all of them were set and it has no other parts, else an envelope."""

    def __init__(self, cls: type[Any], tag: str, anything: Plan) -> None:
        super().__init__(cls, tag)
        self._anything = anything
        # A RootModel's class hides two of the slots, so its instances keep private attributes in __dict__.
        self._hidden = frozenset(name for name in _MORE if not inspect.isdatadescriptor(getattr(cls, name, None)))
        self._computed |= self._hidden
        for name, field in cls.__pydantic_fields__.items():
            if not field.is_required():
                self._defaults[name] = _default_of(field)

    def spell(self, value: Any, room: int, walk: int) -> Any:
        extra = vars(value).keys() - self._plans.keys() - self._computed
        if extra:
            raise Refusal(value, f"it has attributes that are not fields: {', '.join(sorted(extra))}", KEEP_OUT)
        fields = self.spell_fields(value, room, walk)
        chosen = value.__pydantic_fields_set__
        more = value.__pydantic_extra__
        private = value.__pydantic_private__
        if more is None and private is None and chosen == self._plans.keys():
            return fields
        return [
            MODEL,
            fields,
            sorted(chosen),
            self._spell_attributes(value, more, room, walk),
            self._spell_attributes(value, private, room, walk),
        ]

    def instance_dicts(self, values: list[Any]) -> list[dict[str, Any]] | None:
        names = self._plans.keys()
        for value in values:
            has_more = value.__pydantic_extra__ is not None or value.__pydantic_private__ is not None
            if has_more or value.__pydantic_fields_set__ != names:
                return None
        return list(map(vars, values))

    def _spell_attributes(self, value: Any, attributes: dict[str, Any] | None, room: int, walk: int) -> Any:
        if attributes is None:
            return None
        if not room:
            raise TooDeep(value)
        wire = {}
        name = ""
        try:
            for name, item in attributes.items():
                wire[name] = self._anything.lower(item, room - 1, walk)
        except Refusal as refusal:
            refusal.inside(f".{name}", value)
            raise
        return wire

    def is_current(self, wire: Any) -> bool:
        is_envelope = key_of(wire) == MODEL.data and len(wire) > 1
        return super().is_current(wire[1] if is_envelope else wire)

    def wire_type(self, of: WireType) -> Any:
        return joined(super().wire_type(of), list[Any])

    def build(self, wire: Any, walk: int) -> Any:
        if type(wire) is dict:
            values = self.build_fields(wire, walk)
            return self._make(values, set(wire), None, None)
        if key_of(wire) != MODEL.data or len(wire) != 5:
            mismatch(wire, self.cls.__qualname__)
        _, fields, chosen, more, private = wire
        values = self.build_fields(fields, walk)
        extra = self._build_attributes(more)
        if type(chosen) is not list or not (self._plans.keys() | (extra or {}).keys()) >= set(chosen):
            message = f"{self.cls.__qualname__} has other fields than those that are said to be set"
            raise Mismatch(message)
        return self._make(values, set(chosen), extra, self._build_attributes(private))

    def _build_attributes(self, wire: Any) -> dict[str, Any] | None:
        if wire is None:
            return None
        if type(wire) is not dict or not {str}.issuperset(map(type, wire)):
            mismatch(wire, "a dict of attributes")
        return {name: self._anything.restore(item, SHORTCUTS) for name, item in wire.items()}

    def make(self, values: dict[str, Any]) -> Any:
        return self._make(values, set(values), None, None)

    def _make(
        self, values: dict[str, Any], chosen: set[str], extra: dict[str, Any] | None, private: dict[str, Any] | None
    ) -> Any:
        made = object.__new__(self.cls)
        object.__setattr__(made, "__dict__", values)
        object.__setattr__(made, "__pydantic_fields_set__", chosen)
        for name, held in zip(_MORE, (extra, private), strict=True):
            if held is not None or name not in self._hidden:
                object.__setattr__(made, name, held)
        return made


def _default_of(field: Any) -> Any:
    return lambda: field.get_default(call_default_factory=True)
