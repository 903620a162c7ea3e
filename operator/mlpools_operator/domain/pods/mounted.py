"""The Secrets and ConfigMaps that a job mounts as files.

The operator may not read Secrets, so it cannot say before admission that one is absent; and a machine
would wait for it for ever, without a word in the pod's status. So they are mounted as optional, and what
has to be there is handed to the supervisor, which looks before it starts anything and names what is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mlpools_operator.api.v1alpha1 import PodsSpec
from mlpools_operator.api.v1alpha1.volumes import Volume
from mlpools_operator.domain.plan import Object


def volumes(spec: PodsSpec) -> list[Object]:
    """Return the volumes of the spec, none of which keeps a pod from starting by being absent."""
    return [_optional(volume) for volume in spec.volumes]


def required(spec: PodsSpec) -> list[dict[str, Any]]:
    """Return what has to be at each mount: ``{kind, name, path, files}``, ``files`` empty for any file.

    Of several sources in one folder only those tell which files are theirs that list their keys.
    """
    by_name = {volume.name: volume for volume in spec.volumes}
    return [
        {"kind": kind, "name": name, "path": mount.mount_path, "files": [] if mount.sub_path else files}
        for mount in spec.volume_mounts
        for kind, name, files in _sources(by_name[mount.name])
    ]


def _optional(volume: Volume) -> Object:
    plain = volume.plain()
    for source in (plain, *plain.get("projected", {}).get("sources", ())):
        for kind in ("secret", "configMap"):
            if kind in source:
                source[kind]["optional"] = True
    return plain


def _sources(volume: Volume) -> Iterator[tuple[str, str, list[str]]]:
    secret, config = volume.secret, volume.config_map
    if secret and not secret.optional:
        yield "Secret", secret.secret_name, [item.path for item in secret.items or ()]
    if config and not config.optional:
        yield "ConfigMap", config.name, [item.path for item in config.items or ()]
    sources = volume.projected.sources if volume.projected else ()
    for source in sources:
        for kind, part in (("Secret", source.secret), ("ConfigMap", source.config_map)):
            if part and not part.optional and (part.items or len(sources) == 1):
                yield kind, part.name, [item.path for item in part.items or ()]
