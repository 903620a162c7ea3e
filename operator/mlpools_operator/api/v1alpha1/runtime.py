"""What the pods of a user's object run in: their image, and packages beside those of the image."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import Image, KeyName, ObjectName
from mlpools_operator.api.v1alpha1.meta import LIST_SET, Model

# A version for each name, so that every attempt installs the same.
_PinnedPackage = Annotated[
    str,
    StringConstraints(
        max_length=256,
        pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._,-]+\])?==[A-Za-z0-9.!+_-]+$",
    ),
]


class RequirementsFile(Model):
    """A key of a ConfigMap in the pods' namespace that holds a requirements file."""

    name: ObjectName
    """Name of the ConfigMap."""
    key: KeyName
    """Key inside it."""


class JobRuntime(Model):
    """What the pods run in: their image, and packages beside those of the image."""

    image: Image | None = None
    """Its image. It need not know mlpools, which is put beside it; it takes Python 3.9 or newer, and what the
    program imports. Absent: the pool's."""
    packages: Annotated[tuple[_PinnedPackage, ...], Field(max_length=128), LIST_SET] = ()
    """Python packages that every pod installs before its program starts, such as polars==1.2, from the pool's
    index and by the pool's policy (spec.packages there). What the image has stays as it is."""
    requirements: RequirementsFile | None = None
    """More of them, in the format of pip: names with versions, and checksums if all have them."""
