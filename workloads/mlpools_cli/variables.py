"""The environment of a job's processes, out of a manifest and of this shell."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlpools.errors import SecretMissing
from mlpools_cli.manifest import Manifest
from mlpools_operator.api.v1alpha1 import EnvVar, TrainingJobSpec

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[-._a-zA-Z][-._a-zA-Z0-9]*)\))")


def variables(job: Manifest, spec: TrainingJobSpec, shell: Mapping[str, str]) -> dict[str, str]:
    """Return what the manifest sets; what the cluster would take from Secrets is the shell's.

    Args:
        job: for fields of the pod.
        spec: of the job.
        shell: this process's environment.

    Raises:
        SecretMissing: the shell lacks a variable.
    """
    known = dict(shell)
    given = {}
    for variable in spec.env:
        value = _value(variable, job, known)
        if value is not None:
            known[variable.name] = given[variable.name] = value
    return given


def notes(spec: TrainingJobSpec) -> list[str]:
    """Return what a person should know about them."""
    objects = [source.secret_ref or source.config_map_ref for source in spec.env_from]
    names = ", ".join(it.name for it in objects if it is not None)
    return [f"variables that the cluster takes from {names} are those of this shell"] if names else []


def _value(variable: EnvVar, job: Manifest, known: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return _expanded(variable.value or "", known)
    if source.field_ref is not None:
        fields = {"metadata.name": job.name, "metadata.namespace": job.namespace, "status.podIP": "127.0.0.1"}
        return fields.get(source.field_ref.field_path)
    if variable.name in known:
        return known[variable.name]
    kind = "Secret" if source.secret_key_ref else "ConfigMap"
    key = source.secret_key_ref or source.config_map_key_ref
    if key is None or key.optional:
        return None
    raise SecretMissing(
        f"The variable {variable.name} comes from key {key.key} of {kind} {key.name} in a cluster, and from "
        f"this shell here: export {variable.name} first."
    )


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """Fill in ``$(NAME)`` as Kubernetes does: an unknown one stays, and ``$$`` is a ``$``."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return "$" if name is None else known.get(name, match[0])

    return _REFERENCE.sub(replace, text)
