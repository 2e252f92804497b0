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
MOST_NAMES: Final = 400  # of one object
DEEPEST_TYPE: Final = 12
MOST_PLACES: Final = 20_000  # that are held before the guards are applied
PAYS: Final = 3  # values per shape, and fits per miss, at which learning pays
BOUND_AT: Final = 1_000
REST: Final = 20_000  # values that are walked before it is tried again
_UNTYPED: Final = re.compile(r'[\\"\x00-\x1f\ud800-\udfff]')


class DateTime:
    """In a shape, the class of a text that is a date-time."""


_SCALARS: Final[tuple[Any, ...]] = (bool, int, float, str, type(None))
_KINDS: Final[dict[type, str]] = {DateTime: TIMESTAMP, **KIND_OF}


class _Place(Struct):
    """What was learned of a place: how often it held something, and what is in its objects and arrays."""

    seen: int = 0
    objects: bool = False
    names: dict[str, _Place] = msgspec.field(default_factory=dict)
    elements: _Place | None = None


class _Type(Struct):
    """A place's type: where it holds objects `struct` decodes them, their `members` in the order of its fields."""

    struct: type[Struct] | None = None
    members: tuple[tuple[str, _Type], ...] = ()
    elements: _Type | None = None


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
        self._begin_to_learn()

    @property
    def learned(self) -> bool:
        """Whether there is a type at present."""
        return self._decode is not None

    def see(self, raw: Raw | bytes, at: str, message_id: str, count: int = 1) -> None:
        """A value as it came with an event received `at`; `count` events share it, `message_id` is the least of theirs.

        Raises ValueError for what is no JSON.
        """
        decode = self._decode
        if decode is None:
            self._walk(raw, at, message_id, count)
            return
        try:
            shape = self._shape_of(decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._walk(raw, at, message_id, count)
            return
        total = self._shapes.get(shape)
        if total is None:
            self._shapes[shape] = _Sum(count, at, message_id, at)
            if len(self._shapes) >= MOST_SHAPES:
                self._lay_out()
            return
        total.count += count
        if at is not total.last or message_id < total.first_id:
            if (at, message_id) < (total.first, total.first_id):
                total.first, total.first_id = at, message_id
            if at > total.last:
                total.last = at

    def drain(self) -> Node:
        """What was seen since the last time."""
        self._lay_out()
        found, self._found = self._found, Node()
        return found

    def _begin_to_learn(self) -> None:
        self._shapes: dict[Any, _Sum] = {}
        self._place = _Place()
        self._learned = 0
        self._enough = LEARNED_FROM
        self._fits = self._misses = 0
        self._type = _Type()
        self._decode: Callable[[Any], Any] | None = None
        self._shape_of: Callable[[Any], Any] = _shape_function(self._type)

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
        self._learned += 1
        if self._learned >= self._enough:
            self._learn_anew()

    def _learn_anew(self) -> None:
        """Make the type of all that was learned; where the last one fitted too little, give up for a while."""
        self._lay_out()
        if self._decode is not None and self._fits < PAYS * self._misses:
            self._give_up()
            return
        self._type, annotation = _type_of(self._place, 1)
        self._decode = msgspec.json.Decoder(annotation).decode
        self._shape_of = _shape_function(self._type)
        self._learned = self._fits = self._misses = 0
        self._enough = min(2 * self._enough, MOST_LEARNED_FROM)

    def _give_up(self) -> None:
        self._begin_to_learn()
        self._rest_until = self._walked + REST

    def _lay_out(self) -> None:
        """Add the shapes to what was found, path by path."""
        shapes, self._shapes = self._shapes, {}
        values = 0
        for shape, total in shapes.items():
            values += total.count
            _add(self._found, self._type, shape, 1, total)
        self._fits += values
        if len(shapes) >= MOST_SHAPES:
            self._bound()
            if values < PAYS * len(shapes):
                self._give_up()

    def _bound(self) -> None:
        """Applied early the guards do what they would do in the end."""
        if sum(1 for _ in schema_tree.places(self._found)) > MOST_PLACES:
            schema_tree.canonical(Node(names={self._section: self._found}))


def _learn(place: _Place, value: Any, depth: int) -> None:
    place.seen += 1
    if value.__class__ is dict and depth < DEEPEST_TYPE:
        place.objects = True
        for name, member in value.items():
            if name in place.names or (len(place.names) < MOST_NAMES and _can_be_learned(name)):
                _learn(place.names.setdefault(name, _Place()), member, depth + 1)
    elif value.__class__ is list and depth < DEEPEST_TYPE:
        place.elements = place.elements or _Place()
        for element in value:
            _learn(place.elements, element, depth + 1)


def _can_be_learned(name: str) -> bool:
    """msgspec's fields cannot have every name that JSON can."""
    return len(name) <= LONGEST_NAME and _UNTYPED.search(name) is None


def _type_of(place: _Place, depth: int) -> tuple[_Type, Any]:
    """The type, and what msgspec decodes by."""
    made, annotations = _Type(), list(_SCALARS)
    if place.objects:
        members = [(name, *_type_of(member, depth + 1)) for name, member in place.names.items()]
        made.members = tuple((name, member) for name, member, _ in members)
        made.struct = msgspec.defstruct(
            "Learned",
            [
                (f"f{number}", annotation | UnsetType, msgspec.field(default=UNSET, name=name))
                for number, (name, _, annotation) in enumerate(members)
            ],
            forbid_unknown_fields=True,
            gc=False,
        )
        annotations.append(made.struct)
    if place.elements is not None:
        made.elements, annotation = _type_of(place.elements, depth + 1)
        annotations.append(list[annotation])  # type: ignore[valid-type]
    return made, functools.reduce(operator.or_, annotations)


def _shape_function(type_: _Type) -> Callable[[Any], Any]:
    """From a decoded value to its shape. No name of a property gets into the source: fields are numbered."""
    lines: list[str] = []
    given: dict[str, Any] = {"text": _class_of_text}
    shape = _expression(type_, "v", lines, given)
    source = "\n".join([*lines, f"def shape_of(v):\n    return {shape}"])
    exec(source, given)  # noqa: S102 - the source is made of numbers alone
    made: Callable[[Any], Any] = given["shape_of"]
    return made


def _expression(type_: _Type, value: str, lines: list[str], given: dict[str, Any]) -> str:
    """The source of a value's shape; the functions that it needs are added to `lines`."""
    number = len(given)
    cls = f"c{number}"
    given[cls] = None
    cases = []
    if type_.struct is not None:
        given[f"s{number}"] = type_.struct
        members = [_expression(member, f"m{n}", lines, given) for n, (_, member) in enumerate(type_.members)]
        fields = "".join(f"    m{n} = v.f{n}\n" for n in range(len(members)))
        lines.append(f"def o{number}(v):\n{fields}    return ({''.join(f'{each}, ' for each in members)})")
        cases.append((f"is s{number}", f"o{number}({value})"))
    if type_.elements is not None:
        element = _expression(type_.elements, "e", lines, given)
        lines.append(f"def a{number}(v):\n    return (list, *[{element} for e in v])")
        cases.append(("is list", f"a{number}({value})"))
    cases.append((f"is not str or {value}[4:5] != '-'", cls))
    source, asked = "", f"({cls} := {value}.__class__)"
    for condition, shape in cases:
        source, asked = f"{source}{shape} if {asked} {condition} else ", cls
    return f"({source}text({value}))"


def _class_of_text(text: str) -> type:
    return DateTime if is_timestamp(text) else str


def _add(node: Node, type_: _Type, shape: Any, times: int, total: _Sum) -> None:
    """Lay one shape out, which was seen `times` times in each of the values."""
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
        for (name, member), inner in zip(type_.members, shape, strict=True):
            if inner is not UnsetType:
                child = node.names.get(name)
                if child is None:
                    child = node.names[name] = Node()
                _add(child, member, inner, times, total)


def _tally(node: Node, kind: str, times: int, total: _Sum) -> None:
    known = node.kinds.get(kind)
    if known is None:
        node.kinds[kind] = Tally(total.count * times, total.first, total.first_id, total.last)
        return
    known.count += total.count * times
    if (total.first, total.first_id) < (known.first, known.first_id):
        known.first, known.first_id = total.first, total.first_id
    known.last = max(known.last, total.last)
