"""A run of a template: an object of the same kind, with the template's spec at a certain time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mlpools_operator.api.v1alpha1 import API_VERSION
from mlpools_operator.domain import naming
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.plan import Object

#: What only the template says.
_OF_THE_TEMPLATE = ("schedule", "suspend")
_URLS = ("url", "urls")


def run(
    template: Resource,
    kind: str,
    name: str,
    local: datetime,
    *,
    reads: Sequence[str],
    writes: Sequence[str],
    made_by: str = "",
) -> Object:
    """Build a run.

    Args:
        template: whose spec it gets.
        kind: of the run, and of the template if nothing else is said.
        name: of the run.
        local: its scheduled time on a clock in the schedule's zone.
        reads: fields of the spec in whose URLs ``{date}`` and ``{time}`` are filled in.
        writes: fields that besides have a ``url`` of a folder, in which each run gets one of its own.
        made_by: kind of the template, if it is another one.
    """
    spec = {field: value for field, value in template.spec.items() if field not in _OF_THE_TEMPLATE}
    for field in (*reads, *writes):
        if field in spec:
            spec[field] = _filled(spec[field], local)
    for field in writes:
        url = spec.get(field, {}).get("url")
        if url is not None:
            spec[field] = {**spec[field], "url": f"{url.removesuffix('/')}/{name}"}
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": template.meta.namespace,
            "labels": {
                naming.MANAGED_BY: naming.MANAGER,
                naming.SCHEDULE: naming.label_value(template.meta.name),
            },
            "ownerReferences": [naming.owner_reference(made_by or kind, template.meta)],
        },
        "spec": spec,
    }


def timed(value: Any, local: datetime) -> Any:
    """Return a value with the time in all its texts."""
    if isinstance(value, str):
        return value.replace("{date}", f"{local:%Y-%m-%d}").replace("{time}", f"{local:%H%M}")
    if isinstance(value, dict):
        return {key: timed(item, local) for key, item in value.items()}
    return [timed(item, local) for item in value] if isinstance(value, list) else value


def _filled(value: Any, local: datetime) -> Any:
    """Return a part of a spec with the time in all its URLs."""
    if isinstance(value, dict):
        return {
            key: timed(item, local) if key in _URLS else _filled(item, local) for key, item in value.items()
        }
    return [_filled(item, local) for item in value] if isinstance(value, list) else value
