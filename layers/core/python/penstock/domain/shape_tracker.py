"""Learned decoders: the exact shape of every value of one section of one event, much faster than walking it.

What is usual of a section becomes a type. `msgspec` decodes by it, and so checks every name and kind; a function that
is generated for the type gives the shape of what was decoded: classes in tuples, nested as the value is. Values are
counted by shape, and each shape is laid out path by path once, when the count is asked for. What does not fit the type
is walked, and learned from. Where shapes are so many that this does not pay, everything is walked for a while.
"""

from __future__ import annotations

import functools
import operator
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from penstock.domain import schema_tree
from penstock.domain.schema_tree import ARRAY, LONGEST_NAME, OBJECT, TIMESTAMP, Node, Tally
from penstock.domain.schema_walk import KIND_OF, decoded, walk
from penstock.domain.timestamps import is_timestamp

LEARNED_FROM: Final = 24  # values that a type is made of; each further time it takes twice as many that did not fit
MOST_LEARNED_FROM: Final = 1_536
MOST_SHAPES: Final = 512  # that are held before they are laid out
FEW_SHAPES: Final = 128  # the first time, to see early whether they come again
MOST_NAMES: Final = 400  # of one object
DEEPEST_TYPE: Final = 12
MOST_PLACES: Final = 20_000  # that are held before the guards are applied
PAYS: Final = 2  # values per shape, and fits per miss, at which learning pays
BOUND_AT: Final = 1_000
REST: Final = 20_000  # values that are walked before it is tried again, four times as many each time
LONGEST_REST: Final = 1_280_000
_UNTYPED: Final = re.compile(r'[\\"\x00-\x1f\ud800-\udfff]')


class DateTime:
    """In a shape, the class of a text that is a date-time."""


_SCALARS: Final[tuple[Any, ...]] = (bool, int, float, str, type(None))
_KINDS: Final[dict[type, str]] = {DateTime: TIMESTAMP, **KIND_OF}


class _Place(Struct):
    """What was learned of a place: how often it held anything, which scalars, and what is in its objects and arrays."""

    seen: int = 0
    scalars: set[Any] = msgspec.field(default_factory=set)
    objects: int = 0
    names: dict[str, _Place] = msgspec.field(default_factory=dict)
    elements: _Place | None = None


class _Type(Struct):
    """A place's type: the scalars that it takes, its objects as `struct`, whose fields are `members`, its arrays.

    A place of which the type says everything is `fixed`: shapes leave it out.
    """

    scalars: tuple[Any, ...] = ()
    struct: type[Struct] | None = None
    members: tuple[tuple[str, _Type], ...] = ()
    elements: _Type | None = None
    optional: bool = False
    fixed: bool = False


class _Sum(Struct):
    """How often a shape was seen; `first` and `last` are receivedAt times."""

    count: int
    first: str
    first_id: str
    last: str


class ShapeTracker:
    """Counts what is seen of one section of one event of one source; not for several threads at once."""

    def __init__(self, section: str) -> None:
        self._section = section
        self._found = Node()
        self._walked = self._rest_until = 0
        self._rest = REST
        self._begin_to_learn()

    @property
    def learned(self) -> bool:
        """Whether there is a type at present."""
        return self._learned is not None

    def see(self, raw: Raw | bytes, at: str, message_id: str, count: int = 1) -> None:
        """A value as it came with an event received `at`; `count` events share it, `message_id` is the least of theirs.

        Raises ValueError for what is no JSON.
        """
        if self._learned is None:
            self._walk(raw, at, message_id, count)
            return
        decode, shape_of = self._learned
        try:
            shape = shape_of(decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._walk(raw, at, message_id, count)
            return
        total = self._shapes.get(shape)
        if total is None:
            self._shapes[shape] = _Sum(count, at, message_id, at)
            if len(self._shapes) >= self._most_shapes:
                self._lay_out()
            return
        total.count += count
        if at > total.last:
            total.last = at
        if at <= total.first and (at, message_id) < (total.first, total.first_id):
            total.first, total.first_id = at, message_id

    def drain(self) -> Node:
        """What was seen since the last time."""
        self._lay_out()
        found, self._found = self._found, Node()
        return found

    def _begin_to_learn(self) -> None:
        self._shapes: dict[Any, _Sum] = {}
        self._place = _Place()
        self._lessons = 0
        self._enough = LEARNED_FROM
        self._fits = self._misses = 0
        self._most_shapes = FEW_SHAPES
        self._type = _Type()
        self._learned: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None

    def _walk(self, raw: Raw | bytes, at: str, message_id: str, count: int) -> None:
        value = decoded(raw)
        walk(self._found, value, at, message_id, count)
        self._walked += 1
        if self._walked % BOUND_AT == 0:
            self._bound()
        if self._walked < self._rest_until:
            return
        self._misses += 1
        _learn(self._place, value, 1)
        self._lessons += 1
        if self._lessons >= self._enough:
            self._learn_anew()

    def _learn_anew(self) -> None:
        """Make the type of all that was learned; where the last one fitted too little, give up for a while."""
        self._lay_out()
        if self._learned is not None and self._fits < PAYS * self._misses:
            self._give_up()
            return
        self._type, annotation = _type_of(self._place, 1)
        self._learned = msgspec.json.Decoder(annotation).decode, _shape_function(self._type)
        self._lessons = self._fits = self._misses = 0
        self._enough = min(2 * self._enough, MOST_LEARNED_FROM)

    def _give_up(self) -> None:
        self._begin_to_learn()
        self._rest_until = self._walked + self._rest
        self._rest = min(4 * self._rest, LONGEST_REST)

    def _lay_out(self) -> None:
        """Add the shapes to what was found, path by path."""
        shapes, self._shapes = self._shapes, {}
        values = 0
        for shape, total in shapes.items():
            values += total.count
            _add(self._found, self._type, shape, 1, total)
        self._fits += values
        if len(shapes) >= self._most_shapes:
            self._bound()
            self._most_shapes = MOST_SHAPES
            if values < PAYS * len(shapes):
                self._give_up()

    def _bound(self) -> None:
        """Applied early the guards do what they would do in the end."""
        if sum(1 for _ in schema_tree.places(self._found)) > MOST_PLACES:
            schema_tree.canonical(Node(names={self._section: self._found}))


def _learn(place: _Place, value: Any, depth: int) -> None:
    place.seen += 1
    if value.__class__ is dict:
        if depth < DEEPEST_TYPE:
            place.objects += 1
            for name, member in value.items():
                if name in place.names or (len(place.names) < MOST_NAMES and _can_be_learned(name)):
                    _learn(place.names.setdefault(name, _Place()), member, depth + 1)
    elif value.__class__ is list:
        if depth < DEEPEST_TYPE:
            place.elements = place.elements or _Place()
            for element in value:
                _learn(place.elements, element, depth + 1)
    else:
        place.scalars.add(value.__class__)


def _can_be_learned(name: str) -> bool:
    """msgspec's fields cannot have every name that JSON can."""
    return len(name) <= LONGEST_NAME and _UNTYPED.search(name) is None


def _type_of(place: _Place, depth: int, *, optional: bool = False) -> tuple[_Type, Any]:
    """The type, and what msgspec decodes by."""
    scalars = place.scalars | ({int} if float in place.scalars else set())  # by a float alone 1 would become 1.0
    if not (scalars or place.objects or place.elements):
        scalars = set(_SCALARS)  # in arrays that were all empty, or too deep to be learned
    made = _Type(tuple(each for each in _SCALARS if each in scalars), optional=optional)
    annotations = list(made.scalars)
    if place.objects:
        members = [
            (name, *_type_of(member, depth + 1, optional=member.seen < place.objects))
            for name, member in place.names.items()
        ]
        made.members = tuple((name, member) for name, member, _ in members)
        made.struct = msgspec.defstruct(
            "Learned",
            [_field(number, *member) for number, member in enumerate(members)],
            kw_only=True,
            forbid_unknown_fields=True,
            gc=False,
        )
        annotations.append(made.struct)
    if place.elements is not None:
        made.elements, annotation = _type_of(place.elements, depth + 1)
        annotations.append(list[annotation])  # type: ignore[valid-type]
    made.fixed = len(annotations) == 1 and not optional and _says_everything(made)
    return made, functools.reduce(operator.or_, annotations)


def _field(number: int, name: str, member: _Type, annotation: Any) -> Any:
    """Positions are the names in Python: a property's own name may be anything."""
    if member.optional:
        return f"f{number}", annotation | UnsetType, msgspec.field(default=UNSET, name=name)
    return f"f{number}", annotation, msgspec.field(name=name)


def _says_everything(type_: _Type) -> bool:
    """Whether all values of a type with a single choice have one shape: texts may be times, arrays have a length."""
    if type_.struct is not None:
        return all(member.fixed for _, member in type_.members)
    return type_.elements is None and type_.scalars != (str,)


def _shape_function(type_: _Type) -> Callable[[Any], Any]:
    """From a decoded value to its shape. No name of a property gets into the source: fields are numbered."""
    lines: list[str] = []
    given: dict[str, Any] = {"is_timestamp": is_timestamp, "DateTime": DateTime}
    shape = "None" if type_.fixed else _expression(type_, "v", lines, given)
    source = "\n".join([*lines, f"def shape_of(v):\n    return {shape}"])
    exec(source, given)  # noqa: S102 - the source is made of numbers alone
    made: Callable[[Any], Any] = given[shape.removesuffix("(v)") if shape.endswith("(v)") else "shape_of"]
    return made


def _expression(type_: _Type, value: str, lines: list[str], given: dict[str, Any]) -> str:
    """The source of a value's shape; the functions that it needs are added to `lines`."""
    number = len(given)
    cls = f"c{number}"
    given[cls] = None
    cases = []
    if type_.struct is not None:
        given[f"s{number}"] = type_.struct
        _object_function(type_, number, lines, given)
        cases.append((f"is s{number}", f"o{number}({value})"))
    if type_.elements is not None:
        element = "None" if type_.elements.fixed else _expression(type_.elements, "e", lines, given)
        lines.append(f"def a{number}(v):\n    return (list, *[{element} for e in v])")
        cases.append(("is list", f"a{number}({value})"))
    if str in type_.scalars:
        # most texts begin with a letter, and no time does
        text = f"(str if {value} > ':' or {value}[4:5] != '-' or not is_timestamp({value}) else DateTime)"
        cases.append(("is str", text))
    if type_.optional or len(type_.scalars) > (str in type_.scalars):
        cases.append(("", cls))
    (_, last), source, asked = cases.pop(), "", f"({cls} := {value}.__class__)"
    for condition, shape in cases:
        source, asked = f"{source}{shape} if {asked} {condition} else ", cls
    return f"({source}{last})" if cases else last.replace(cls, f"{value}.__class__")


def _object_function(type_: _Type, number: int, lines: list[str], given: dict[str, Any]) -> None:
    """The function `o<number>`: the shapes of those members that the type does not say everything of."""
    open_ = [(n, member) for n, (_, member) in enumerate(type_.members) if not member.fixed]
    shapes = "".join(f"{_expression(member, f'm{n}', lines, given)}, " for n, member in open_)
    fields = "".join(f"    m{n} = v.f{n}\n" for n, _ in open_)
    lines.append(f"def o{number}(v):\n{fields}    return ({shapes})")


def _add(node: Node, type_: _Type, shape: Any, times: int, total: _Sum) -> None:
    """Lay one shape out, which was seen `times` times in each of the values."""
    if type_.fixed:
        shape = () if type_.struct is not None else type_.scalars[0]
    if shape.__class__ is not tuple:
        _tally(node, _KINDS[shape], times, total)
    elif shape and shape[0] is list:
        _tally(node, ARRAY, times, total)
        for element, number in Counter(shape[1:]).items():
            node.elements = node.elements or Node()
            assert type_.elements is not None
            _add(node.elements, type_.elements, element, times * number, total)
    else:
        _tally(node, OBJECT, times, total)
        _add_members(node, type_, shape, times, total)


def _add_members(node: Node, type_: _Type, shape: tuple[Any, ...], times: int, total: _Sum) -> None:
    inner = iter(shape)
    for name, member in type_.members:
        own = None if member.fixed else next(inner)
        if own is not UnsetType:
            child = node.names.get(name)
            if child is None:
                child = node.names[name] = Node()
            _add(child, member, own, times, total)


def _tally(node: Node, kind: str, times: int, total: _Sum) -> None:
    known = node.kinds.get(kind)
    if known is None:
        node.kinds[kind] = Tally(total.count * times, total.first, total.first_id, total.last)
        return
    known.count += total.count * times
    if (total.first, total.first_id) < (known.first, known.first_id):
        known.first, known.first_id = total.first, total.first_id
    known.last = max(known.last, total.last)
