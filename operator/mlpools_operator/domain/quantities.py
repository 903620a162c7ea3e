"""Kubernetes quantities: parts of them, and words for a pool's shape."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import InstanceShape, amount

_MIB = 2**20


def share_of_bytes(quantity: str, share: float) -> str:
    """Return a part of a byte quantity, rounded down to whole MiB (at least one): 30 % of 4Gi is 1228Mi."""
    return f"{max(1, int(float(amount(quantity)) * share) // _MIB)}Mi"


def less(shape: InstanceShape, cpu: str, memory: str) -> dict[str, str]:
    """Return what is left of a shape's CPU and memory, at least a tenth of each."""
    cores, room = amount(shape.cpu), amount(shape.memory)
    left = max(cores - amount(cpu), cores / 10), max(room - amount(memory), room / 10)
    return {"cpu": f"{int(left[0] * 1000)}m", "memory": str(int(left[1]))}


def shape_in_words(shape: InstanceShape) -> str:
    """Return such as ``2 CPU, 4Gi`` or ``8 CPU, 64Gi, 1 GPU``."""
    words = f"{shape.cpu} CPU, {shape.memory}"
    return words if not shape.gpus else f"{words}, {shape.gpus} GPU"


def resources(shape: InstanceShape) -> dict[str, str]:
    """Return what a pod of this shape requests and is limited to: equal, so that it is the last evicted."""
    wanted = {"cpu": shape.cpu, "memory": shape.memory}
    if shape.ephemeral_storage:
        wanted["ephemeral-storage"] = shape.ephemeral_storage
    if shape.gpus:
        wanted[shape.gpu_resource] = str(shape.gpus)
    return wanted
