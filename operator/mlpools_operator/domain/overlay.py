"""Merges an administrator's pod template over a pod that we built, in the manner of kubectl's patches.

Objects merge field by field and null takes a field away. Lists whose entries have a name of their own merge
by it; the other lists are replaced whole. Merging the same overlay once more changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mlpools_operator.api.v1alpha1 import PodTemplate
from mlpools_operator.domain.plan import Object

_Entries = Sequence[Mapping[str, Any]]

#: Lists of objects that are told apart by some of their fields.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "ports": ("containerPort", "protocol"),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "resourceClaims": ("name",),
    "claims": ("name",),
    "tolerations": ("key", "operator", "value", "effect"),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
#: Of these an entry merges with its namesake. Elsewhere it takes its place: a volume of two kinds, or a
#: variable with a value and a source of it, would be refused.
_MERGING = frozenset({"containers", "initContainers"})
#: Lists that only grow: a job's own sources, and the pool's terms beside those of its placement.
_GROWING = frozenset(
    {
        "envFrom",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    }
)


def over_template(template: Object, overlay: PodTemplate | None) -> Object:
    """Return a pod template with the pool's overlay merged over it."""
    if overlay is None:
        return template
    return merge(template, {"metadata": overlay.metadata.plain(), "spec": overlay.spec})


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Object:
    """Return an object with another one merged over it; neither is changed."""
    result = dict(base)
    for field, value in overlay.items():
        if value is None:
            result.pop(field, None)
        else:
            result[field] = _merged(field, result.get(field), value)
    return result


def _merged(field: str, base: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return merge(base if isinstance(base, Mapping) else {}, value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        there = list(base) if isinstance(base, Sequence) and not isinstance(base, str) else []
        if field in _GROWING:
            return [*there, *(entry for entry in value if entry not in there)]
        if field in _KEYS and all(isinstance(entry, Mapping) for entry in (*there, *value)):
            return _by_key(field, there, value)
    return value


def _by_key(
    field: str, there: Sequence[Mapping[str, Any]], value: Sequence[Mapping[str, Any]]
) -> list[Object]:
    entries = {_key(field, entry): dict(entry) for entry in there}
    for entry in value:
        key = _key(field, entry)
        before = entries.get(key, {}) if field in _MERGING else {}
        entries[key] = merge(before, entry)
    return list(entries.values())


def _key(field: str, entry: Mapping[str, Any]) -> str:
    # A name may be anything that JSON holds, until the API server has looked at it; what is null in it
    # is gone once it has been merged.
    plain = merge({}, entry)
    return repr([plain.get(name) for name in _KEYS[field]])
