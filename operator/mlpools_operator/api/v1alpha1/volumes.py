"""What a user may say about the volumes of pods.

A typed choice instead of Kubernetes' own volumes: whoever may create a job must not be able to ask for
host paths or a service account's token.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools.contract.wiring import (
    CACHE_MOUNT,
    CODE_MOUNT,
    CONNECTIONS_MOUNT,
    INJECTED_FOLDER,
    PACKAGES_MOUNT,
)
from mlpools_operator.api.v1alpha1.common import EntryName, KeyName, ObjectName, SecretName
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one
from mlpools_operator.api.v1alpha1.quantity import BytesQuantity

#: Folders that the operator mounts by itself.
OWN_MOUNTS = ("/tmp", "/scratch", "/dev/shm", CACHE_MOUNT)  # noqa: S108 - names of mounts, nothing is written here
_TAKEN = [*OWN_MOUNTS, INJECTED_FOLDER, PACKAGES_MOUNT, CODE_MOUNT, CONNECTIONS_MOUNT]
#: Volumes that the operator adds by itself are called so.
OWN_VOLUME_PREFIX = "mlpools-"

_FILE_FIELD_PATH = r"^metadata\.(name|namespace|uid|labels|annotations|(labels|annotations)\['[^']+'\])$"
_Mode = Annotated[int, Field(ge=0, le=0o777)]
_Attribute = Annotated[str, StringConstraints(max_length=4096)]
# Neither absolute nor with a part that begins with two dots, which Kubernetes keeps for itself.
_PATH_PART = r"\.?[^/.][^/]*"
_RelativePath = Annotated[str, StringConstraints(max_length=1024, pattern=rf"^{_PATH_PART}(/{_PATH_PART})*$")]
_VolumeName = Annotated[
    EntryName,
    Rule(
        f"!self.startsWith('{OWN_VOLUME_PREFIX}')",
        f"Names that begin with {OWN_VOLUME_PREFIX} are mlpools' own: choose another name.",
        lambda name: not name.startswith(OWN_VOLUME_PREFIX),
    ),
]
_MountPath = Annotated[
    str,
    StringConstraints(min_length=2, max_length=512, pattern=r"^(/[^/:]+)+$"),
    Rule(
        f"!(self in {_TAKEN})",
        f"{', '.join(_TAKEN)} are mounted by mlpools itself: choose another path.",
        lambda path: path not in _TAKEN,
    ),
]


class KeyToPath(Model):
    """A key and the file that it becomes."""

    key: KeyName
    """The key."""
    path: _RelativePath
    """The file, relative to the mount."""
    mode: _Mode | None = None
    """Permission bits of the file. Absent: those of the volume."""


_Items = Annotated[tuple[KeyToPath, ...], Field(max_length=64)]


class ClaimVolume(Model):
    """A PersistentVolumeClaim."""

    claim_name: ObjectName
    """Its name, in the pods' namespace."""
    read_only: bool | None = None
    """Whether it is mounted read-only everywhere. Absent: false."""


class ConfigMapVolume(Model):
    """Files from the keys of a ConfigMap."""

    name: ObjectName
    """Its name, in the pods' namespace."""
    items: _Items | None = None
    """The keys wanted. Absent: all."""
    default_mode: _Mode | None = None
    """Permission bits of the files. Absent: 0644."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class SecretVolume(Model):
    """Files from the keys of a Secret."""

    secret_name: ObjectName
    """Its name, in the pods' namespace."""
    items: _Items | None = None
    """The keys wanted. Absent: all."""
    default_mode: _Mode | None = None
    """Permission bits of the files. Absent: 0644."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class EmptyDirVolume(Model):
    """An empty folder that lives as long as the pod."""

    medium: Literal["Memory"] | None = None
    """Memory: a RAM disk, which counts as the container's memory. Absent: the machine's disk."""
    size_limit: BytesQuantity | None = None
    """Most bytes that it may hold, such as 1Gi."""


class CsiVolume(Model):
    """An inline volume of a CSI driver that supports ephemeral volumes."""

    driver: ObjectName
    """Name of the driver, such as secrets-store.csi.k8s.io."""
    read_only: bool | None = None
    """Whether it is mounted read-only. Absent: false."""
    fs_type: Annotated[str, StringConstraints(max_length=64)] | None = None
    """File system to mount. Absent: the driver's choice."""
    volume_attributes: dict[str, _Attribute] = Field(default_factory=dict, max_length=64)
    """What the driver is told."""
    node_publish_secret_ref: SecretName | None = None
    """Secret for the driver, in the pods' namespace."""


class ProjectedConfigMap(Model):
    """Files from a ConfigMap, inside a projected volume."""

    name: ObjectName
    """Its name, in the pods' namespace."""
    items: _Items | None = None
    """The keys wanted. Absent: all."""
    optional: bool | None = None
    """Whether the pod starts without it. Absent: false."""


class FileFieldRef(Model):
    """A field of the pod itself, as a file; the API server offers fewer of them than for variables."""

    field_path: Annotated[str, StringConstraints(max_length=512, pattern=_FILE_FIELD_PATH)]
    """Path of the field, such as metadata.labels."""


class DownwardFile(Model):
    """A file that holds a field of the pod."""

    path: _RelativePath
    """The file, relative to the mount."""
    field_ref: FileFieldRef
    """The field."""
    mode: _Mode | None = None
    """Permission bits of the file. Absent: those of the volume."""


class DownwardVolume(Model):
    """Files that hold fields of the pod."""

    items: Annotated[tuple[DownwardFile, ...], Field(min_length=1, max_length=64)]
    """The files."""


class ProjectedSource(Model):
    """One source of a projected volume. A service account's token is not among them."""

    config_map: ProjectedConfigMap | None = None
    """A ConfigMap."""
    secret: ProjectedConfigMap | None = None
    """A Secret."""
    downward_api: DownwardVolume | None = None
    """Fields of the pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            ("config_map", "secret", "downward_api"),
            "A source is exactly one of configMap, secret and downwardAPI; serviceAccountToken is refused.",
        ),
    )


class ProjectedVolume(Model):
    """Several sources in one folder."""

    sources: Annotated[tuple[ProjectedSource, ...], Field(min_length=1, max_length=16)]
    """The sources."""
    default_mode: _Mode | None = None
    """Permission bits of the files. Absent: 0644."""


_SOURCES = ("persistent_volume_claim", "config_map", "secret", "empty_dir", "csi", "projected")


class Volume(Model):
    """A volume of every pod."""

    name: _VolumeName
    """Its name, for volumeMounts."""
    persistent_volume_claim: ClaimVolume | None = None
    """A PersistentVolumeClaim. More than one node needs one that several machines can mount."""
    config_map: ConfigMapVolume | None = None
    """Files from a ConfigMap."""
    secret: SecretVolume | None = None
    """Files from a Secret."""
    empty_dir: EmptyDirVolume | None = None
    """An empty folder, each pod its own, gone with the pod."""
    csi: CsiVolume | None = None
    """An inline volume of a CSI driver."""
    projected: ProjectedVolume | None = None
    """Several ConfigMaps, Secrets and fields of the pod in one folder."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            _SOURCES,
            "A volume is exactly one of persistentVolumeClaim, configMap, secret, emptyDir, csi, projected; "
            "others, such as hostPath, are refused.",
        ),
    )


class VolumeMount(Model):
    """Where a volume appears in the container that does the work."""

    name: EntryName
    """Name of the volume, one of spec.volumes."""
    mount_path: _MountPath
    """Absolute path in the container, without a slash at the end."""
    read_only: bool | None = None
    """Whether it is read-only. Absent: false."""
    sub_path: _RelativePath | None = None
    """Folder inside the volume. Absent: its root."""
