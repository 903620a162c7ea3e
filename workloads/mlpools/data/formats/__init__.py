"""File formats, one module each: what is in a file, and how to read a unit of it.

A format is a frozen dataclass whose fields are its options, so that ``Csv(delimiter=";")`` is a format.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import pyarrow as pa

from mlpools.data.plan import Unit
from mlpools.errors import InvalidSpec, at_hand

if TYPE_CHECKING:
    from mlpools.data.formats.whole import Content


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What statistics tell about one column of one unit.

    Attributes:
        low: no value is below; None if unknown.
        high: no value is above; None if unknown.
        nulls: how many values are null; None if unknown.
        rows: of the unit.
    """

    low: Any
    high: Any
    nulls: int | None
    rows: int


def no_bounds(unit: int, column: str) -> Bounds | None:
    """Return None: nothing is known."""
    return None


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What a file tells about itself.

    Attributes:
        schema: names and types of its columns; None for an empty file, which tells of none.
        units: in order; with rows where counting costs nothing.
        digest: SHA-256 of the part that describes all the others, empty if there is none.
        bounds: of a unit, by its position, and a column.
    """

    schema: pa.Schema | None
    units: tuple[Unit, ...]
    digest: str = ""
    bounds: Callable[[int, str], Bounds | None] = no_bounds


class UnitReader(Protocol):
    """An open file."""

    def read(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield all rows of a unit in order, in pieces that fit the budget."""

    def close(self) -> None:
        """Let go of the file."""


@runtime_checkable
class Announces(Protocol):
    """A ``UnitReader`` that knows which bytes a unit needs, so that they can be fetched before it is read."""

    def announce(self, units: Sequence[Unit]) -> None:
        """Begin to fetch what these units need. What was announced already is not fetched again."""


class Format(Protocol):
    """How files of one kind are read. Fields of the dataclass that implements it are the options.

    ``inspect`` and ``open`` raise OSError or a pyarrow.ArrowException for a file that is damaged, and
    ValueError with a clause for a person where they know better.
    """

    #: Which files a folder's URL means.
    suffixes: ClassVar[tuple[str, ...]]
    #: What a unit is called in messages.
    unit: ClassVar[str]
    #: Whether files do not tell types, so that they are guessed from values.
    guesses_types: ClassVar[bool]
    #: Whether a row leaves out what it has no value for, so that a file may lack columns.
    sparse: ClassVar[bool]

    def inspect(self, file: pa.NativeFile, name: str) -> Inspection:
        """Look at a file without reading its rows. ``name`` is the end of its URL."""

    def open(self, file: pa.NativeFile, name: str, schema: pa.Schema, piece_bytes: int) -> UnitReader:
        """Prepare to read units.

        Args:
            file: to read from; the reader closes it.
            name: the end of its URL.
            schema: the columns wanted, all of which are in the file; tables have these columns in this
                order. Formats without types of their own read these types, others may yield theirs.
            piece_bytes: a unit that takes more memory is handed out in pieces of about this size.
        """


#: Name of a format -> module and class. Imported only when it is asked for.
FORMATS: Mapping[str, str] = {
    "parquet": "mlpools.data.formats.parquet:Parquet",
    "csv": "mlpools.data.formats.delimited:Csv",
    "json": "mlpools.data.formats.jsonlines:Json",
    "arrow": "mlpools.data.formats.ipc:Arrow",
    "orc": "mlpools.data.formats.orc:Orc",
    "text": "mlpools.data.formats.text:Text",
    "shard": "mlpools.data.formats.shard:Shard",
}
#: The same for contents of files that are one row each.
CONTENTS: Mapping[str, str] = {
    "binary": "mlpools.data.formats.whole:Binary",
    "document": "mlpools.data.formats.whole:Document",
    "image": "mlpools.data.formats.whole:Image",
}


#: Annotation of an option's field -> what its value must be, and in words.
_KINDS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "text"),
    "bool": (bool, "true or false"),
    "int": (int, "a number"),
    "tuple[str, ...]": ((list, tuple), "a list of texts"),
    "Mapping[str, str]": (Mapping, "a map"),
}


def make(name: str, options: Mapping[str, Any]) -> Format:
    """Return a format with options, whose names are written as in a job's spec: ``newlinesInValues``.

    Raises:
        InvalidSpec: there is no such option, or its value is of the wrong type.
    """
    made: Format = _make(name, FORMATS[name], options)
    return made


def make_content(name: str, options: Mapping[str, Any]) -> Content:
    """Return a content with options.

    Raises:
        InvalidSpec: there is no such option, or its value makes no sense.
    """
    made: Content = _make(name, CONTENTS[name], options)
    return made


def _make(name: str, place: str, options: Mapping[str, Any]) -> Any:
    module, _, attribute = place.partition(":")
    cls = getattr(importlib.import_module(module), attribute)
    known = {_camel(field.name): field for field in dataclasses.fields(cls)}
    for key, value in options.items():
        if key not in known:
            raise InvalidSpec(f"{name} files have no option {key!r}. {at_hand(key, list(known), 'Options')}")
        kind, words = _KINDS.get(str(known[key].type).removesuffix(" | None"), (object, ""))
        if not isinstance(value, kind):
            raise InvalidSpec(f"The option {key!r} of {name} files must be {words}, not {value!r}.")
    try:
        return cls(**{known[key].name: value for key, value in options.items()})
    except (TypeError, ValueError) as error:
        raise InvalidSpec(f"The options of {name} files cannot be used: {error}.") from error


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)
