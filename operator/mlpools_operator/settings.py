"""Every setting of the operator, read once from the environment.

A name that does not exist and a value that makes no sense stop the operator at start: a setting that
is silently ignored is found out about in the worst moment.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mlpools_operator.api.v1alpha1 import FamilyName
from mlpools_operator.domain.pool.families import Family

PREFIX = "MLPOOLS_"

#: Variables that Kubernetes itself adds to a pod for a Service of our name (`enableServiceLinks`).
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?$")
#: One, or none.
_DOMAIN = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(ValueError):
    """The environment cannot be used; the message is one line that says which setting and why."""


class Settings(BaseSettings):
    """The operator's settings; each field is the variable ``MLPOOLS_<NAME>``.

    Attributes:
        runtime_image: image of job pods where neither job nor pool names one.
        runtime_full_image: the same for jobs that need PyTorch or GPUs, or run a script; empty = the same.
        operator_namespace: where the operator runs; network policies let its probe in from there.
        operator_labels: labels of the operator's own pods, for the same rule.
        namespaces: namespaces to serve; empty = all of them.
        http_port: of ``/healthz``, ``/readyz`` and ``/metrics``.
        log_level: least severe record that is written.
        log_format: ``json`` for machines, ``text`` for a terminal.
        workers: objects that are worked on at the same time.
        cluster_domain: DNS domain of the cluster.
        image_pull_policy: of job pods where the pool does not say.
        instance_families: catalogue of machines by name; the variable is the path of a JSON file, which is
            read once, at start.
        notebooks_domain: under which each notebook may have a host of its own; empty: none may.
        ingress_annotations: of notebooks' Ingresses, for whoever serves those; the variable is a JSON object.
        probe_seconds: between two looks at a running job's progress.
        look_seconds: between two looks at whether a notebook is used.
        progress_seconds: a job's progress is written no more often.
        sweep_seconds: between two comparisons of what is remembered with what exists.
        usage_seconds: between two writes of what the namespaces have used of a pool.
        namespace_seconds: between two looks at the labels of the namespaces in a list of them.
        leader_election: share the work of one operator with others, one at a time, by a Lease in
            ``operator_namespace``. Without it, whoever starts the operator sees to it that it is alone.
        identity: in the Lease; no other living process may have it. Empty = one is made up.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    runtime_image: Annotated[str, Field(min_length=1)]
    runtime_full_image: str = ""
    operator_namespace: Annotated[str, Field(min_length=1)]
    operator_labels: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    workers: Annotated[int, Field(ge=1, le=256)] = 16
    cluster_domain: Annotated[str, Field(min_length=1)] = "cluster.local"
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    instance_families: Annotated[dict[FamilyName, Family], NoDecode] = Field(default_factory=dict)
    notebooks_domain: Annotated[str, Field(max_length=189, pattern=_DOMAIN)] = ""
    ingress_annotations: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    probe_seconds: Annotated[float, Field(gt=0)] = 2.0
    #: With what is not worth a write of the status, its times are true to a minute.
    look_seconds: Annotated[float, Field(gt=0, le=20)] = 15.0
    progress_seconds: Annotated[float, Field(gt=0)] = 10.0
    sweep_seconds: Annotated[float, Field(gt=0)] = 600.0
    usage_seconds: Annotated[float, Field(gt=0)] = 60.0
    namespace_seconds: Annotated[float, Field(gt=0)] = 30.0
    leader_election: bool = True
    identity: Annotated[str, Field(max_length=253)] = ""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split_namespaces(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = tuple(dict.fromkeys(_parts(value)))
        for name in names:
            if not _NAMESPACE.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a namespace")
        return names

    @field_validator("operator_labels", mode="before")
    @classmethod
    def _split_labels(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in _parts(value)]
        for key, equals, _ in pairs:
            if not key or not equals:
                raise ValueError(f"write key=value,key=value; {key!r} has no value")
        return {key: text for key, _, text in pairs}

    @field_validator("instance_families", mode="before")
    @classmethod
    def _read_families(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(Path(value).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"name a readable JSON file ({error})") from None

    @field_validator("ingress_annotations", mode="before")
    @classmethod
    def _read_annotations(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("write a JSON object") from None

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


def load() -> Settings:
    """Read the settings from the process's environment.

    Raises:
        SettingsError: an unknown name with our prefix, a missing setting or a value that makes no sense.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    ours = {name for name in os.environ if name.startswith(PREFIX)}
    unknown = sorted(name for name in ours - known if not _SERVICE_LINK.search(name))
    if unknown:
        raise SettingsError(f"Unknown setting {', '.join(unknown)}; there are {', '.join(sorted(known))}.")
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(" ".join(_sentences(error))) from error


def _sentences(error: ValidationError) -> Iterable[str]:
    for problem in error.errors():
        first, *inner = problem["loc"]
        name = ".".join([f"{PREFIX}{str(first).upper()}", *map(str, inner)])
        if problem["type"] == "missing" and not inner:
            yield f"Setting {name} is not set."
        else:
            said = problem["msg"].removeprefix("Value error, ")
            yield f"Setting {name} cannot be {problem['input']!r}: {said[0].lower()}{said[1:]}."


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
