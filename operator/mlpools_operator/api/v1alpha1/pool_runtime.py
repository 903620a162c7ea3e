"""The images that jobs of a ComputePool run in."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import Image, SecretName
from mlpools_operator.api.v1alpha1.meta import LIST_SET, Model, Rule, list_map

_DIGEST = "@sha256:[0-9a-f]{64}$"
# Signs that mean something in other tools' patterns are not taken: only the star does here.
_ImagePattern = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\s\[\]?]+$")]


class PoolRuntime(Model):
    """The image that jobs of the pool run in."""

    image: Image | None = None
    """Image of jobs that name none. Without it the operator's default is used."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When machines pull the image. Without it the operator's default is used."""
    image_pull_secrets: Annotated[tuple[SecretName, ...], Field(max_length=16), list_map("name")] = ()
    """Secrets for pulling the image. They must exist in the namespace of each job."""
    require_digest: bool = False
    """Whether images are named by their digest (name@sha256:…), so that nobody can change what runs. The
    operator's default image is its own installation's choice."""
    allowed_images: Annotated[tuple[_ImagePattern, ...], Field(max_length=64), LIST_SET] | None = None
    """Images that jobs may choose besides the pool's own: patterns in which * stands for any text, such as
    registry.example.com/ml/*. Absent: all. Empty: none."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requireDigest) || !self.requireDigest || !has(self.image) || "
            f"self.image.matches('{_DIGEST}')",
            "requireDigest holds for the pool's own image too: name it by its digest, as in name@sha256:….",
            lambda it: not it.require_digest or it.image is None or is_digest(it.image),
            ".image",
        ),
    )


def is_digest(image: str) -> bool:
    """Whether an image is named by its digest."""
    return re.search(_DIGEST, image) is not None
