"""A batch on its way from a DataLoader's worker to the loop: its tensors in one piece of shared memory.

PyTorch sends each tensor by itself, which takes a connection between the processes, and with it all of the
memory that it is a view of: of a batch cut from a row group the whole row group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

#: Tensors begin at multiples of so many bytes, as those do that PyTorch allocates.
_ALIGNMENT = 64


class Parcel(dict[str, Any]):
    """A dictionary whose tensors were copied together; it arrives as a plain one.

    What somebody puts into it later, or in the place of a tensor, is sent as PyTorch would send it.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
        ends = [0]
        for tensor in tensors.values():
            ends.append(ends[-1] + -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT)
        self._memory = torch.UntypedStorage._new_shared(max(1, ends[-1]))
        for (name, tensor), start in zip(tensors.items(), ends, strict=False):
            offset = start // tensor.element_size()
            # Without gaps, and with the columns of a matrix as they are: in one piece or not.
            strides = torch.empty_like(tensor, device="meta").stride()
            self[name] = _view(self._memory, tensor.dtype, offset, tensor.shape, strides).copy_(tensor)

    def __copy__(self) -> Parcel:
        copy = Parcel.__new__(Parcel)
        copy.update(self)
        copy._memory = self._memory
        return copy

    def __reduce__(self) -> tuple[Any, ...]:
        return _open, (self._memory, {name: self._packed(value) for name, value in self.items()})

    def _packed(self, value: Any) -> _View | _Other:
        mine = isinstance(value, torch.Tensor) and value.untyped_storage()._cdata == self._memory._cdata
        if not mine:
            return _Other((value,))
        return _View((value.dtype, value.storage_offset(), value.shape, value.stride()))


class _View(tuple[Any, ...]):
    """What ``_view`` makes a tensor of the memory by."""


class _Other(tuple[Any, ...]):
    """What is not in the memory."""


def _open(memory: torch.UntypedStorage, packed: Mapping[str, _View | _Other]) -> dict[str, Any]:
    return {
        name: _view(memory, *value) if isinstance(value, _View) else value[0]
        for name, value in packed.items()
    }


def _view(memory: Any, dtype: Any, offset: int, shape: Any, strides: Any) -> torch.Tensor:
    return torch.empty(0, dtype=dtype).set_(memory, offset, shape, strides)
