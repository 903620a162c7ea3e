"""How busy the container's GPUs are, by NVIDIA's management library, which their container runtime mounts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_LIBRARY = "libnvidia-ml.so.1"


class _Utilization(ctypes.Structure):
    """``nvmlUtilization_t``: percent of the last sample period."""

    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


def reader() -> Callable[[], int | None]:
    """Return a function that tells how busy the busiest GPU is, in percent; None where nobody can see one."""
    try:
        library: Any = ctypes.CDLL(_LIBRARY)
    except OSError:
        return lambda: None
    if library.nvmlInit_v2() != 0:
        return lambda: None
    return lambda: _busiest(library)


def _busiest(library: Any) -> int | None:
    number = ctypes.c_uint()
    if library.nvmlDeviceGetCount_v2(ctypes.byref(number)) != 0:
        return None
    found = (_load(library, index) for index in range(number.value))
    return max((load for load in found if load is not None), default=None)


def _load(library: Any, index: int) -> int | None:
    device, load = ctypes.c_void_p(), _Utilization()
    if library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) != 0:
        return None
    if library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(load)) != 0:
        return None
    return int(load.gpu)
