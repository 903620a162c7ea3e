"""The administrator's own fields of a pool's pods: affinity, and an overlay that is merged last.

Kubernetes' types are not repeated here: the API server checks them when it gets the Job. What the overlay
may not touch is declared all the same, since CEL sees only declared properties, and a mistake is to be told
when the pool is applied and not when a job's turn has come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.env import OWN_ENV, OWN_ENV_PREFIX, is_own_variable
from mlpools_operator.api.v1alpha1.meta import Extension, Model, Rule

#: The container that runs the job.
MAIN = "main"

_TEXT: Mapping[str, Any] = {"type": "string", "maxLength": 1024}
_TEXTS: Mapping[str, Any] = {"type": "array", "maxItems": 256, "items": _TEXT}
_NUMBER: Mapping[str, Any] = {"type": "integer"}
_FREE: Mapping[str, Any] = {
    "type": "object",
    "maxProperties": 64,
    "x-kubernetes-preserve-unknown-fields": True,
}

#: Fields of a pod that the overlay may not set: their type, and what to do instead.
REFUSED_OF_POD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "restartPolicy": (_TEXT, "a failed gang is restarted as a whole"),
    "hostname": (_TEXT, "the gang finds its ranks by their names"),
    "subdomain": (_TEXT, "the gang finds its ranks by their names"),
    "nodeName": (_TEXT, "set nodeSelector or affinity"),
    "hostNetwork": ({"type": "boolean"}, "set network.profile to Host"),
    "priorityClassName": (_TEXT, "set the pool's priorityClassName"),
    "priority": (_NUMBER, "set the pool's priorityClassName"),
    "terminationGracePeriodSeconds": (_NUMBER, "each job says its own"),
    "activeDeadlineSeconds": (_NUMBER, "a job's time is limited by the job"),
    "resources": (_FREE, "the shape of a node is the pool's instance"),
}
#: The same for the container ``main``.
REFUSED_OF_MAIN: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "command": (_TEXTS, "the container runs mlpools' supervisor"),
    "args": (_TEXTS, "the container runs mlpools' supervisor"),
    "image": (_TEXT, "set runtime.image"),
    "imagePullPolicy": (_TEXT, "set runtime.imagePullPolicy"),
    "restartPolicy": (_TEXT, "a failed gang is restarted as a whole"),
    "terminationMessagePath": (_TEXT, "the operator reads the job's last words there"),
    "terminationMessagePolicy": (_TEXT, "the operator reads the job's last words there"),
}
_BYTES = 32 * 1024


def _declared(refused: Mapping[str, tuple[Mapping[str, Any], str]]) -> dict[str, Any]:
    return {
        name: {**schema, "description": f"Not taken here: {instead}."}
        for name, (schema, instead) in refused.items()
    }


def objects(owner: Mapping[str, Any], field: str) -> list[Mapping[str, Any]] | None:
    """Return a list of objects, empty if it is absent; None if it is something else, such as null."""
    value = owner.get(field, [])
    return value if isinstance(value, list) and all(isinstance(it, dict) for it in value) else None


def _refused_of_pod(name: str, instead: str) -> Rule:
    message = f"podTemplate cannot set {name}: {instead}."
    return Rule(f"!has(self.{name})", message, lambda spec: name not in spec, f".{name}")


def _of_main(cel: str, message: str, holds: Callable[[Mapping[str, Any]], bool]) -> Rule:
    """Return a rule on each container of the overlay, named ``c`` in CEL."""
    return Rule(
        f"!has(self.containers) || self.containers.all(c, {cel})",
        message,
        lambda spec: (mains := objects(spec, "containers")) is not None and all(map(holds, mains)),
        ".containers",
    )


def _refused_of_main(name: str, instead: str) -> Rule:
    message = f"podTemplate cannot set {name} of the container {MAIN}: {instead}."
    return _of_main(f"!has(c.{name})", message, lambda container: name not in container)


def _keeps_shape(container: Mapping[str, Any]) -> bool:
    resources = container.get("resources", {})
    return isinstance(resources, dict) and not {"requests", "limits"} & resources.keys()


def _keeps_contract(container: Mapping[str, Any]) -> bool:
    variables = objects(container, "env")
    return variables is not None and not any(is_own_variable(str(it.get("name"))) for it in variables)


_MAIN_SCHEMA = {
    **_FREE,
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 63, "description": f"Its name, {MAIN}."},
        **_declared(REFUSED_OF_MAIN),
        "env": {
            "type": "array",
            "maxItems": 128,
            "description": "Variables that every job gets; they win over a job's own of the same name.",
            "items": {
                **_FREE,
                "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 256, "description": "Its name."}},
            },
        },
        "resources": {
            **_FREE,
            "description": "Claims of devices (DRA). Requests and limits are the shape of a node.",
            "properties": {
                name: {**_FREE, "description": "Not taken here: the shape of a node is the pool's instance."}
                for name in ("requests", "limits")
            },
        },
    },
}
_PodSpec = Annotated[
    dict[str, Any],
    Field(max_length=64),
    Extension(
        {
            **_FREE,
            "properties": {
                **_declared(REFUSED_OF_POD),
                "containers": {
                    "type": "array",
                    "maxItems": 16,
                    "description": f"What to add to the container {MAIN}, which runs the job. Helpers belong "
                    "to initContainers; with restartPolicy Always they run beside it and end with it.",
                    "items": _MAIN_SCHEMA,
                },
            },
        }
    ),
    *(_refused_of_pod(name, instead) for name, (_, instead) in REFUSED_OF_POD.items()),
    _of_main(
        f"c.name == '{MAIN}'",
        f"podTemplate.spec.containers takes only {MAIN}: another one would keep the pod running when the job "
        "is over. Put helpers into initContainers with restartPolicy Always.",
        lambda container: container.get("name") == MAIN,
    ),
    *(_refused_of_main(name, instead) for name, (_, instead) in REFUSED_OF_MAIN.items()),
    _of_main(
        "!has(c.resources) || !has(c.resources.requests) && !has(c.resources.limits)",
        f"podTemplate cannot set requests and limits of the container {MAIN}: they are the shape of a node; "
        "set the pool's instance, or network.resources.",
        _keeps_shape,
    ),
    _of_main(
        f"!has(c.env) || c.env.all(e, !e.name.startsWith('{OWN_ENV_PREFIX}') && e.name != '{OWN_ENV}')",
        f"podTemplate cannot set {OWN_ENV} and variables that begin with {OWN_ENV_PREFIX}: they tell a rank "
        "what to do.",
        _keeps_contract,
    ),
    Rule(
        None,
        f"podTemplate.spec takes at most {_BYTES // 1024} KiB as JSON.",
        lambda spec: len(json.dumps(spec).encode()) <= _BYTES,
    ),
]

_LabelKey = Annotated[str, StringConstraints(max_length=317)]
_Labels = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=63)]],
    Field(max_length=64),
    Rule(
        "self.all(name, name != 'app.kubernetes.io/managed-by' && !name.startsWith('mlpools.dev/') && "
        "!name.startsWith('batch.kubernetes.io/') && !(name in ['job-name', 'controller-uid']))",
        "Labels of mlpools.dev and batch.kubernetes.io, managed-by, job-name and controller-uid are how a "
        "job's pods are found: choose other names.",
        lambda labels: not any(_is_own_label(name) for name in labels),
    ),
]


def _is_own_label(name: str) -> bool:
    return name.startswith(("mlpools.dev/", "batch.kubernetes.io/")) or name in (
        "app.kubernetes.io/managed-by",
        "job-name",
        "controller-uid",
    )


class TemplateMetadata(Model):
    """Labels and annotations of every pod of the pool."""

    labels: _Labels = Field(default_factory=dict)
    """Labels that every pod gets."""
    annotations: Annotated[
        dict[str, Annotated[str, StringConstraints(max_length=16_384)]], Field(max_length=64)
    ] = Field(default_factory=dict)
    """Annotations that every pod gets."""


class PodTemplate(Model):
    """The administrator's overlay over the pods of the pool, in the form of Kubernetes' PodTemplateSpec."""

    metadata: TemplateMetadata = TemplateMetadata()
    """Labels and annotations of every pod."""
    spec: _PodSpec = Field(default_factory=dict)
    """Fields of a pod, merged over what mlpools builds: objects field by field, containers by name, env,
    volumes and the like entry by entry, other lists whole. The container that runs the job is called main."""


_Term = Annotated[dict[str, Any], Extension(_FREE)]
_Terms = Annotated[tuple[_Term, ...], Field(max_length=16)]


class NodeAffinity(Model):
    """Which machines pods of the pool may have, and which they had rather have."""

    required_during_scheduling_ignored_during_execution: _Term | None = None
    """A node selector, with nodeSelectorTerms: machines that pods may have."""
    preferred_during_scheduling_ignored_during_execution: _Terms = ()
    """Weighted preferences: machines that pods had rather have."""


class PodAffinity(Model):
    """Which other pods are near, or are not."""

    required_during_scheduling_ignored_during_execution: _Terms = ()
    """Pod affinity terms that must hold."""
    preferred_during_scheduling_ignored_during_execution: _Terms = ()
    """Weighted pod affinity terms that should hold."""


class Affinity(Model):
    """Wishes about machines and about other pods on them, as in a pod's affinity."""

    node_affinity: NodeAffinity | None = None
    """Labels of machines."""
    pod_affinity: PodAffinity | None = None
    """Pods to lie near to. The pods of one job: see placement."""
    pod_anti_affinity: PodAffinity | None = None
    """Pods to lie apart from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            None,
            f"affinity takes at most {_BYTES // 1024} KiB as JSON.",
            lambda affinity: len(affinity.model_dump_json().encode()) <= _BYTES,
        ),
    )
