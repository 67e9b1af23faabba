"""Making plans of declared types, once, when a graph is compiled."""

import typing
from collections import Counter, OrderedDict, abc, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ForwardRef, Literal, TypeVar, Union, get_args, get_origin

from durable_graph.codec.anything import AnyPlan
from durable_graph.codec.classes import FieldTypes, is_typed_dict, shape_for, typed_dict_fields, unstorable_class
from durable_graph.codec.foreign import StoredShape
from durable_graph.codec.hints import alias_value, is_alias, is_unpacked, required_keys
from durable_graph.codec.mappings import CounterPlan, DefaultDictPlan, DictPlan, OrderedDictPlan, TypedDictPlan
from durable_graph.codec.models import held_by
from durable_graph.codec.plan import SHORTCUTS, Deferred, Plan
from durable_graph.codec.registry import FindStored, ObjectPlan, Registry, Shape, UnstorableType, Upcast, has_kind
from durable_graph.codec.scalars import BOOL, BYTES, FLOAT, INT, LEAVES, NONE, PATHS, STR, LiteralPlan
from durable_graph.codec.sequences import DequePlan, FixedTuplePlan, ListPlan, SetPlan, TuplePlan
from durable_graph.codec.stored_type import StoredType
from durable_graph.codec.times import TIMES
from durable_graph.codec.unions import UnionPlan
from durable_graph.codec.upcasting import UpcastShape

_SIMPLE: dict[Any, Plan] = {
    None: NONE,
    type(None): NONE,
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STR,
    typing.LiteralString: STR,
    bytes: BYTES,
    **{kind: leaf for leaf in (*LEAVES, *TIMES) for kind in leaf.kinds},
    Path: PATHS,
}

_OF_ITEMS: dict[Any, Callable[[Plan], Plan]] = {
    list: ListPlan,
    tuple: TuplePlan,
    set: lambda item: SetPlan(set, item),
    frozenset: lambda item: SetPlan(frozenset, item),
    deque: DequePlan,
}

_OF_PAIRS: dict[Any, Callable[[Plan, Plan], Plan]] = {
    dict: DictPlan,
    OrderedDict: OrderedDictPlan,
    defaultdict: DefaultDictPlan,
    Counter: CounterPlan,
}

_ABSTRACT: dict[Any, tuple[type, ...]] = {
    abc.Sequence: (list, tuple, deque),
    abc.MutableSequence: (list, deque),
    abc.Set: (set, frozenset),
    abc.MutableSet: (set,),
    abc.Mapping: (dict, OrderedDict, defaultdict, Counter),
    abc.MutableMapping: (dict, OrderedDict, defaultdict, Counter),
    abc.Reversible: (list, tuple, deque, dict),
    abc.Collection: (list, tuple, set, frozenset, deque, dict),
    abc.Container: (list, tuple, set, frozenset, deque, dict),
    abc.Iterable: (list, tuple, set, frozenset, deque, dict),
}
"""The concrete types of each abstract type. A value is restored with its concrete type."""

_QUALIFIERS = frozenset({"Annotated", "Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})


class Compiler:
    """Makes plans, and keeps the plans of named types, which may be recursive."""

    def __init__(self, upcasts: Mapping[type, Upcast], find: FindStored | None) -> None:
        self.registry: Registry = Registry()
        self._upcasts = upcasts
        self._find = find
        self._anything = AnyPlan(self.registry)
        self._shapes: dict[Any, Shape] = {}
        self._named: dict[Any, Plan] = {}
        self._kept: list[tuple[Any, ...]] = []
        self._owner: type | None = None
        anything = self._anything
        self._anything.settle(
            (
                *(NONE, BOOL, INT, FLOAT, STR, BYTES, *LEAVES, *TIMES),
                *(make(anything) for make in _OF_ITEMS.values()),
                *(make_pairs(anything, anything) for make_pairs in _OF_PAIRS.values()),
            )
        )

    def store(self, stored: StoredType[Any]) -> Shape:
        """Register a class with a `StoredType`. Raises `UnstorableType` if its instances can be stored without it."""
        cls = stored.cls
        if any(cls in builtin for builtin in (_SIMPLE, _OF_ITEMS, _OF_PAIRS, _ABSTRACT)):
            raise UnstorableType(cls, "they are stored without a StoredType", "leave it out of types")
        if cls in self._upcasts:
            raise UnstorableType(cls, "they have both a StoredType and an upcast", "let decode read older data")
        known = self.registry.stored_of(cls)
        if isinstance(known, StoredShape) and known.cls is cls:
            if known.stored == stored:
                return known
            raise UnstorableType(cls, f"they have two StoredTypes, {known.tag!r} and {stored.tag!r}", "give one")
        self.registry.add(cls, stored.tag)
        shape = StoredShape(stored, self._anything)
        self.registry.put_stored(shape)
        return shape

    def build_own(self, wire: Any) -> Any:
        """The instance of one of the library's own classes."""
        return self._anything.build(wire, SHORTCUTS)

    def register(self, cls: Any, tag: str | None) -> None:
        """Register a class for values of type `Any`. All classes get their tags before the first is compiled."""
        found = get_origin(cls) or cls
        if not isinstance(found, type):
            raise UnstorableType(cls, "only classes are listed", "list the classes themselves")
        if found in _SIMPLE or is_typed_dict(found):
            return
        if tag is None and not has_kind(found) and self._installed(found) is not None:
            # The class has the tag of its StoredType.
            return
        self.registry.add(found, tag)

    def plan(self, declared: Any) -> Plan:
        """The plan of a type. Raises `UnstorableType`."""
        if declared is Any or declared is object:
            return self._anything
        if _is_hashable(declared) and declared in _SIMPLE:
            return _SIMPLE[declared]
        special = self._indirect(declared)
        if special is not None:
            return special
        origin, arguments = get_origin(declared) or declared, get_args(declared)
        if origin in (Union, UnionType):
            return self._union(arguments, declared)
        if origin is Literal:
            return self._literal(arguments)
        if origin is tuple and declared is not tuple and declared is not typing.Tuple:  # noqa: UP006 - a user may
            return self._tuple(declared, arguments)
        container = self._container(origin, arguments)
        if container is not None:
            return container
        if isinstance(origin, type):
            return self._class(origin, arguments)
        raise UnstorableType(declared, "values cannot be checked against it", "declare a class or Any")

    def _key(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments of a generic type as part of a dict's key. `Annotated[int, {}]`, for one, is not hashable."""
        # Kept alive, so that no other object gets the same id.
        self._kept.append(arguments)
        return tuple(argument if _is_hashable(argument) else id(argument) for argument in arguments)

    def _indirect(self, declared: Any) -> Plan | None:
        """The plan of a type that stands for another type; None for any other type."""
        if declared is typing.Self and self._owner is not None:
            return self._class(self._owner, ())
        if isinstance(declared, TypeVar):
            raise UnstorableType(declared, "it is a type parameter without an argument", "declare a type")
        if isinstance(declared, ForwardRef):
            value = getattr(declared, "__forward_value__", None)
            if value is None:
                raise UnstorableType(
                    declared, "the name is not defined there", "declare it where its module can see it"
                )
            return self._once((declared.__forward_arg__, id(value)), value)
        if isinstance(declared, str):
            raise UnstorableType(declared, "it is a string that was not resolved", "declare the type itself")
        origin = get_origin(declared) or declared
        if is_alias(declared):
            return self._once((origin, self._key(get_args(declared))), _alias_value(declared))
        if isinstance(declared, typing.NewType):
            return self.plan(declared.__supertype__)
        if origin is Annotated or getattr(origin, "_name", None) in _QUALIFIERS or hasattr(declared, "__metadata__"):
            return self.plan((*get_args(declared), Any)[0])
        return None

    def _once(self, key: Any, declared: Any) -> Plan:
        """The plan of a type that may be recursive: inside itself it is a stand-in."""
        if key in self._named:
            return self._named[key]
        stand_in = self._named[key] = Deferred()
        try:
            plan = self._named[key] = self.plan(declared)
        except (UnstorableType, RecursionError):
            del self._named[key]
            raise
        if plan is stand_in:
            self._named = {each: known for each, known in self._named.items() if known is not stand_in}
            raise UnstorableType(declared, "the alias refers to itself", "let the alias name a type")
        stand_in.settle(plan)
        return plan

    def _union(self, members: Sequence[Any], declared: Any) -> Plan:
        plans = [self.plan(member) for member in members]
        if self._anything in plans:
            return self._anything
        return UnionPlan(plans, str(declared))

    def _literal(self, members: tuple[Any, ...]) -> Plan:
        if not members:
            raise UnstorableType(Literal[()], "it has no members", "name at least one")
        kinds = list(dict.fromkeys(map(type, members)))
        inner = self._union(kinds, Literal[members]) if len(kinds) > 1 else self.plan(kinds[0])
        return LiteralPlan(members, inner)

    def _tuple(self, declared: Any, items: tuple[Any, ...]) -> Plan:
        items = _flat(items)
        if any(getattr(item, "__typing_is_unpacked_typevartuple__", False) for item in items):
            raise UnstorableType(declared, "its length depends on a type parameter", "declare tuple[<type>, ...]")
        if Ellipsis not in items:
            return FixedTuplePlan([self.plan(item) for item in items])
        # For `tuple[int, *tuple[str, ...]]` only the types of the items are checked, not their places.
        kinds = [item for item in items if item is not Ellipsis]
        if not kinds:
            raise UnstorableType(declared, "it does not say what its items are", "declare tuple[<type>, ...]")
        return TuplePlan(self.plan(kinds[0]) if len(kinds) == 1 else self._union(kinds, declared))

    def _container(self, origin: Any, arguments: tuple[Any, ...]) -> Plan | None:
        if not isinstance(origin, type):
            return None
        kinds = _ABSTRACT.get(origin)
        if kinds is not None:
            members = [self._container(kind, _arguments_for(kind, arguments)) for kind in kinds]
            plans = [member for member in members if member is not None]
            return UnionPlan(plans, origin.__name__) if len(plans) > 1 else plans[0]
        if origin in _OF_ITEMS:
            item = arguments[0] if arguments else Any
            return _OF_ITEMS[origin](self.plan(item))
        if origin in _OF_PAIRS:
            key, item = _pair(origin, arguments)
            return _OF_PAIRS[origin](self.plan(key), self.plan(item))
        return None

    def _class(self, cls: type, arguments: tuple[Any, ...]) -> Plan:
        if is_typed_dict(cls):
            return self._typed_dict(cls, arguments)
        held = held_by(cls)
        if held is not None:
            return self.plan(held)
        shape = self._shape(cls, arguments)
        if shape is None and not self.registry.has_subclass_of(cls):
            raise unstorable_class(cls)
        return ObjectPlan(cls, shape, self.registry)

    def _shape(self, cls: type, arguments: tuple[Any, ...]) -> Shape | None:
        key = (cls, self._key(arguments))
        if key in self._shapes:
            return self._shapes[key]
        stored = self.registry.stored_of(cls)
        if stored is not None and stored.cls is cls:
            return stored
        described = shape_for(cls, self.registry, self._anything)
        if described is None:
            return stored or self._installed(cls)
        shape, fields = described
        if cls in self._upcasts:
            shape = UpcastShape(shape, self._upcasts[cls], self.build_own)
        self._shapes[key] = shape
        if arguments:
            # In values of open types, the class is stored without arguments.
            self._shape(cls, ())
        else:
            self.registry.put(shape)
        try:
            shape.settle(self._fields(cls, fields, arguments))
        except (UnstorableType, RecursionError):
            del self._shapes[key]
            self.registry.drop(shape)
            raise
        return shape

    def _installed(self, cls: type) -> Shape | None:
        """The shape of a class with a `StoredType` of an installed package."""
        stored = self._find(cls) if self._find is not None else None
        return None if stored is None else self.store(stored)

    def _fields(self, cls: type, fields: FieldTypes, arguments: tuple[Any, ...]) -> dict[str, Plan]:
        known = {found.__name__: found for found in self.registry.classes()}
        plans = {}
        name = ""
        around, self._owner = self._owner, cls
        try:
            for name, declared in fields(arguments, known).items():
                plans[name] = self.plan(declared)
        except UnstorableType as error:
            error.inside(f"{cls.__qualname__}.{name}" if name else cls.__qualname__)
            raise
        finally:
            self._owner = around
        return plans

    def _typed_dict(self, cls: Any, arguments: tuple[Any, ...]) -> Plan:
        key = (cls, self._key(arguments))
        if key in self._named:
            return self._named[key]
        stand_in = self._named[key] = Deferred(frozenset({dict}), frozenset({dict}))
        types: dict[str, Any] = {}

        def resolved(arguments: tuple[Any, ...], known: Mapping[str, type]) -> dict[str, Any]:
            types.update(typed_dict_fields(cls, arguments, known))
            return types

        try:
            fields = self._fields(cls, resolved, arguments)
        except (UnstorableType, RecursionError):
            del self._named[key]
            raise
        plan = self._named[key] = TypedDictPlan(cls.__qualname__, fields, required_keys(cls, types))
        stand_in.settle(plan)
        return plan


def _alias_value(alias: Any) -> Any:
    try:
        return alias_value(alias)
    except NameError as error:
        raise UnstorableType(alias, f"it mentions {error.name!r}, which cannot be found", "define it") from error
    except RecursionError:
        # The codec raises an error about the whole type.
        raise
    except Exception as error:
        # An alias's value is the user's expression, which may raise anything.
        raise UnstorableType(alias, f"it cannot be resolved: {error}", "declare the type itself") from error


def _is_hashable(declared: Any) -> bool:
    # By calling `hash`: `Annotated[int, {}]` has a `__hash__`, which fails.
    try:
        hash(declared)
    except TypeError:
        return False
    return True


def _flat(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """The items of a tuple, with each `*tuple[...]` replaced by its items."""
    flat: list[Any] = []
    for item in items:
        # `*tuple[int]` has the tuple's arguments, `Unpack[tuple[int]]` has the tuple as its argument.
        inner = get_args(item) if getattr(item, "__unpacked__", False) else get_args((*get_args(item), None)[0])
        is_open = getattr(item, "__typing_is_unpacked_typevartuple__", False)
        flat.extend(_flat(inner) if is_unpacked(item) and not is_open else (item,))
    return tuple(flat)


def _arguments_for(kind: type, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    if not arguments:
        return ()
    if kind is dict and len(arguments) == 1:
        return (arguments[0], Any)
    # A Counter for Mapping[K, V] has values of V, and not only ints.
    return arguments


def _pair(origin: type, arguments: tuple[Any, ...]) -> tuple[Any, Any]:
    if not arguments:
        return Any, Any
    if len(arguments) == 1:
        return arguments[0], int
    return arguments[0], arguments[1]
