"""The environment of a job's processes, out of a manifest and of this shell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mlpools.errors import SecretMissing
from mlpools_cli.manifest import Manifest
from mlpools_operator.api.v1alpha1 import EnvFromSource, EnvVar, JobSpec

_REFERENCE = re.compile(r"\$(?:\$|\((?P<name>[-._a-zA-Z][-._a-zA-Z0-9]*)\))")


def variables(
    job: Manifest, spec: JobSpec, keys: Mapping[str, Path], shell: Mapping[str, str]
) -> dict[str, str]:
    """Return what the manifest sets; of Secrets and ConfigMaps without a folder it is the shell's.

    Args:
        job: for fields of the pod.
        spec: of the job.
        keys: folders with the keys of Secrets and ConfigMaps.
        shell: this process's environment.

    Raises:
        SecretMissing: the shell lacks a variable.
    """
    given = {}
    for source in spec.env_from:
        folder = keys.get(_name(source))
        for path in sorted(folder.iterdir()) if folder else ():
            given[f"{source.prefix or ''}{path.name}"] = path.read_text(encoding="utf-8")
    known = {**shell, **given}
    for variable in spec.env:
        value = _value(variable, job, keys, known)
        if value is not None:
            known[variable.name] = given[variable.name] = value
    return given


def notes(spec: JobSpec, keys: Mapping[str, Path]) -> list[str]:
    """Return what a person should know about them."""
    names = ", ".join(name for name in map(_name, spec.env_from) if name not in keys)
    return [f"variables that the cluster takes from {names} are those of this shell"] if names else []


def _name(source: EnvFromSource) -> str:
    of = source.secret_ref or source.config_map_ref
    return of.name if of else ""


def _value(variable: EnvVar, job: Manifest, keys: Mapping[str, Path], known: Mapping[str, str]) -> str | None:
    source = variable.value_from
    if source is None:
        return _expanded(variable.value or "", known)
    if source.field_ref is not None:
        fields = {"metadata.name": job.name, "metadata.namespace": job.namespace, "status.podIP": "127.0.0.1"}
        return fields.get(source.field_ref.field_path)
    kind = "Secret" if source.secret_key_ref else "ConfigMap"
    key = source.secret_key_ref or source.config_map_key_ref
    if key is not None and (folder := keys.get(key.name)) and (folder / key.key).is_file():
        return (folder / key.key).read_text(encoding="utf-8")
    if variable.name in known:
        return known[variable.name]
    if key is None or key.optional:
        return None
    raise SecretMissing(
        f"The variable {variable.name} comes from key {key.key} of {kind} {key.name} in a cluster, and from "
        f"this shell here: export {variable.name} first, or give --keys {key.name}=FOLDER."
    )


def _expanded(text: str, known: Mapping[str, str]) -> str:
    """Fill in ``$(NAME)`` as Kubernetes does: an unknown one stays, and ``$$`` is a ``$``."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        return "$" if name is None else known.get(name, match[0])

    return _REFERENCE.sub(replace, text)
