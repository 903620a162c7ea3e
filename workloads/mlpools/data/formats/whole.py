"""What becomes of a small file that is one row: its bytes, its text, or its pixels."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pyarrow as pa

from mlpools.errors import one_line

#: Pillow's name of a mode -> bytes of a pixel.
_MODES = {"L": 1, "RGB": 3, "RGBA": 4}


class Content(Protocol):
    """How files of one kind become values of a column. Fields of the dataclass are the options.

    Methods raise ValueError with a clause for a person, which follows the file's name.
    """

    #: Which files a folder's URL means; all if empty.
    suffixes: ClassVar[tuple[str, ...]]

    def settled(self, first: bytes) -> Self:
        """Return the same with what the first file decides."""

    def options(self) -> dict[str, Any]:
        """Return the options in JSON's types."""

    @property
    def field(self) -> pa.Field:
        """Name and type of the column."""

    def row_bytes(self, size: int) -> int:
        """Return how much memory the row of a file of so many bytes takes."""

    def decode(self, data: bytes) -> Any:
        """Return a file's value."""

    def array(self, values: Sequence[Any]) -> pa.Array:
        """Return the column of several files."""


@dataclasses.dataclass(frozen=True)
class Binary:
    """The file's bytes as they are, in column ``bytes``."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    field: ClassVar[pa.Field] = pa.field("bytes", pa.large_binary())

    def settled(self, first: bytes) -> Self:
        """Return itself."""
        return self

    def options(self) -> dict[str, Any]:
        """Return none: there are no options."""
        return {}

    def row_bytes(self, size: int) -> int:
        """Return the file's size."""
        return size

    def decode(self, data: bytes) -> bytes:
        """Return the bytes."""
        return data

    def array(self, values: Sequence[bytes]) -> pa.Array:
        """Return a column of bytes."""
        return byte_strings(values, pa.large_binary())


@dataclasses.dataclass(frozen=True)
class Document:
    """The file's text, in column ``text``.

    Attributes:
        encoding: Python's name of it.
    """

    encoding: str = "utf-8"

    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    field: ClassVar[pa.Field] = pa.field("text", pa.large_string())

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"there is no encoding {self.encoding!r}") from None

    def settled(self, first: bytes) -> Self:
        """Return itself."""
        return self

    def options(self) -> dict[str, Any]:
        """Return the options in JSON's types."""
        return {"encoding": self.encoding}

    def row_bytes(self, size: int) -> int:
        """Return the file's size."""
        return size

    def decode(self, data: bytes) -> str:
        """Return the text."""
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise ValueError(
                f"is no {self.encoding} text (byte {error.start:,}); say its encoding, or read it as binary"
            ) from error

    def array(self, values: Sequence[str]) -> pa.Array:
        """Return a column of texts."""
        return byte_strings([value.encode() for value in values], pa.large_string())


@dataclasses.dataclass(frozen=True)
class Image:
    """The picture's pixels, in column ``image``: uint8 tensors of shape [height, width, channels].

    Attributes:
        size: (height, width) to which pictures are scaled. Without it they must all have the first one's.
        mode: ``RGB``, ``RGBA`` or ``L`` (grey); pictures are converted.
        scale: whether pictures of another size are scaled, or refused.
    """

    size: tuple[int, int] | None = None
    mode: str = "RGB"
    scale: bool = True

    suffixes: ClassVar[tuple[str, ...]] = (
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
    )

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise ValueError(f"image_mode is one of {', '.join(_MODES)}, not {self.mode!r}")
        if self.size is not None:
            try:
                height, width = map(int, self.size)
            except (TypeError, ValueError):
                height = width = 0
            if min(height, width) < 1:
                raise ValueError(f"image_size is (height, width) in pixels, not {self.size!r}")
            object.__setattr__(self, "size", (height, width))

    def settled(self, first: bytes) -> Self:
        """Return the same with the first picture's size, if none was given."""
        if self.size is not None:
            return self
        with _opened(first) as picture:
            width, height = picture.size
        return dataclasses.replace(self, size=(height, width), scale=False)

    def options(self) -> dict[str, Any]:
        """Return the options in JSON's types."""
        return {"size": self.size and list(self.size), "mode": self.mode, "scale": self.scale}

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        assert self.size is not None, "settled comes first"
        return (*self.size, _MODES[self.mode])

    @property
    def field(self) -> pa.Field:
        """Name and type of the column."""
        return pa.field("image", pa.fixed_shape_tensor(pa.uint8(), self.shape))

    def row_bytes(self, size: int) -> int:
        """Return the bytes of the pixels."""
        height, width, channels = self.shape
        return height * width * channels

    def decode(self, data: bytes) -> np.ndarray:
        """Return the pixels."""
        from PIL import Image as Pillow

        height, width, channels = self.shape
        with _opened(data) as picture:
            if picture.size != (width, height):
                if not self.scale:
                    raise ValueError(
                        f"has {picture.size[1]} x {picture.size[0]} pixels, and the first picture has "
                        f"{height} x {width}; give image_size=(height, width), to which all are scaled"
                    )
                # A JPEG four times as large is decoded at a part of its size, which is several times faster.
                picture.draft(None, (2 * width, 2 * height))
            try:
                picture.load()
                pixels = picture if picture.mode == self.mode else picture.convert(self.mode)
            except _broken() as error:
                raise _undecodable(error) from error
            if pixels.size != (width, height):
                pixels = pixels.resize((width, height), Pillow.Resampling.BILINEAR)
        return np.asarray(pixels, np.uint8).reshape(height, width, channels)

    def array(self, values: Sequence[np.ndarray]) -> pa.Array:
        """Return a column of tensors."""
        flat = np.concatenate([value.reshape(-1) for value in values])
        pixels = pa.Array.from_buffers(pa.uint8(), len(flat), [None, pa.py_buffer(flat)])
        storage = pa.FixedSizeListArray.from_arrays(pixels, self.row_bytes(0))
        return pa.ExtensionArray.from_storage(self.field.type, storage)


def byte_strings(values: Sequence[bytes], kind: pa.DataType) -> pa.Array:
    """Return a large binary or string array.

    Made of buffers, since ``pa.array`` of Python values imports pandas: seconds before the first batch.
    """
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(kind, len(values), buffers)


def _opened(data: bytes) -> Any:
    from PIL import Image as Pillow

    try:
        return Pillow.open(io.BytesIO(data))
    except _broken() as error:
        raise _undecodable(error) from error


def _broken() -> tuple[type[Exception], ...]:
    """Return what Pillow raises for files that are no pictures, or no longer."""
    from PIL import Image as Pillow

    return OSError, SyntaxError, ValueError, EOFError, Pillow.DecompressionBombError


def _undecodable(error: Exception) -> ValueError:
    text = one_line(error)
    if "cannot identify" in text:
        text = "it is of no format that Pillow knows"
    return ValueError(f"is no picture that can be decoded: {text}")
