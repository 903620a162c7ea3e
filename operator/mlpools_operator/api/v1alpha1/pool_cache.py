"""The cache that pods of a ComputePool keep data in, to read it once."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one
from mlpools_operator.api.v1alpha1.quantity import BytesQuantity
from mlpools_operator.api.v1alpha1.volumes import ClaimVolume, CsiVolume

_SYSTEM = ("/", "/etc", "/proc", "/sys", "/dev", "/usr", "/boot", "/root", "/var/lib/kubelet")


class HostFolder(Model):
    """A folder of the machine."""

    path: Annotated[
        str,
        StringConstraints(min_length=2, max_length=512, pattern=r"^(/[^/:]+)+$"),
        Rule(
            f"!(self in {list(_SYSTEM)})",
            "is a folder of the system: name one that only the cache uses, such as /var/cache/mlpools.",
            lambda path: path not in _SYSTEM,
        ),
    ]
    """The folder, which must exist and let the job's user write, such as /var/cache/mlpools."""


class CacheVolume(Model):
    """Where the cache lies when it is to outlive a pod."""

    persistent_volume_claim: ClaimVolume | None = None
    """A claim in the namespace of each job. On several machines at once it needs ReadWriteMany."""
    csi: CsiVolume | None = None
    """An inline volume of a CSI driver, such as one that gives out local disks."""
    host_path: HostFolder | None = None
    """A folder of each machine. Pod Security must allow it in the jobs' namespaces."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            ("persistent_volume_claim", "csi", "host_path"),
            "Give exactly one of persistentVolumeClaim, csi and hostPath.",
        ),
    )


class PoolCache(Model):
    """The folder in which a job keeps what it has read from far away, and what it has decoded."""

    size: BytesQuantity = "10Gi"
    """Most bytes that it takes. What was used longest ago goes first."""
    volume: CacheVolume | None = None
    """A volume that keeps it from one pod to the next. Its files are shared by all jobs of the pool that can
    read them, so a pool of several tenants should have none. Absent: each pod has its own, empty at first,
    on the machine's disk."""
