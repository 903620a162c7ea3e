"""What a user may say about pods, whatever runs in them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from mlpools_operator.api.v1alpha1.common import ObjectName
from mlpools_operator.api.v1alpha1.env import EnvFromSource, EnvVar
from mlpools_operator.api.v1alpha1.meta import Model, Rule, list_map
from mlpools_operator.api.v1alpha1.runtime import JobRuntime
from mlpools_operator.api.v1alpha1.volumes import Volume, VolumeMount

#: By number; 0 would be root.
User = Annotated[int, Field(ge=1, le=4_294_967_294)]


class PodsSpec(Model):
    """Fields of a spec that describe its pods."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=128), list_map("name")] = ()
    """Environment variables of the pods' processes."""
    env_from: Annotated[tuple[EnvFromSource, ...], Field(max_length=32)] = ()
    """ConfigMaps and Secrets whose keys become environment variables; env wins over them."""
    volumes: Annotated[tuple[Volume, ...], Field(max_length=32), list_map("name")] = ()
    """Volumes of every pod."""
    volume_mounts: Annotated[tuple[VolumeMount, ...], Field(max_length=32), list_map("mountPath")] = ()
    """Where the volumes appear in the container."""
    service_account_name: ObjectName | None = None
    """Service account of the pods, for access to storage. Its token for Kubernetes is not mounted."""
    runtime: JobRuntime = JobRuntime()
    """What the pods run in: their image, and packages beside those of the image."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.volumeMounts) || "
            "self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
            "Each of volumeMounts must name one of volumes.",
            lambda spec: {mount.name for mount in spec.volume_mounts} <= {it.name for it in spec.volumes},
            ".volumeMounts",
        ),
    )
