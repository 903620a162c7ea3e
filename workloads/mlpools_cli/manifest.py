"""A file of manifests as a person writes it."""

from __future__ import annotations

import base64
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlpools.errors import InvalidSpec
from mlpools_operator.api.v1alpha1 import API_VERSION
from mlpools_operator.api.v1alpha1.meta import Model
from mlpools_operator.domain.kinds import JOB_KINDS

_NAMESPACE = "default"


@dataclass(frozen=True)
class Manifest:
    """One job of a file."""

    kind: str
    name: str
    namespace: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        jobs: in their order.
        config_maps: the keys of each, by its name.
        others: of other kinds, such as ``ComputePool cpu``.
    """

    jobs: tuple[Manifest, ...]
    config_maps: Mapping[str, Mapping[str, bytes]]
    others: tuple[str, ...]


def read(path: Path) -> Contents:
    """Read a file of one or several documents.

    Raises:
        InvalidSpec: it holds no job of this release.
    """
    try:
        documents = [it for it in yaml.safe_load_all(path.read_text(encoding="utf-8")) if it is not None]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidSpec(f"{path} cannot be read as YAML: {' '.join(str(error).split())}.") from error
    jobs, others, config_maps = [], [], {}
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
            raise InvalidSpec(f"{path} has a document that is no manifest: it needs apiVersion and kind.")
        if document["kind"] in JOB_KINDS:
            jobs.append(_job(path, document))
            continue
        name = str((document.get("metadata") or {}).get("name", ""))
        if document["kind"] == "ConfigMap":
            config_maps[name] = _keys(document)
        else:
            others.append(f"{document['kind']} {name}".rstrip())
    if not jobs:
        raise InvalidSpec(f"{path} holds no {' and no '.join(JOB_KINDS)}.")
    return Contents(tuple(jobs), config_maps, tuple(others))


def _keys(document: Mapping[str, Any]) -> dict[str, bytes]:
    texts, binary = document.get("data") or {}, document.get("binaryData") or {}
    plain = {str(key): str(text).encode() for key, text in texts.items()}
    return {**plain, **{str(key): base64.b64decode(text) for key, text in binary.items()}}


def _job(path: Path, document: Mapping[str, Any]) -> Manifest:
    kind = document["kind"]
    if document.get("apiVersion") != API_VERSION:
        raise InvalidSpec(f"{path}: apiVersion of a {kind} is {API_VERSION}.")
    metadata, spec = document.get("metadata"), document.get("spec")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        raise InvalidSpec(f"{path}: a {kind} needs metadata.name.")
    if not isinstance(spec, dict):
        raise InvalidSpec(f"{path}: the {kind} {metadata['name']} has no spec.")
    return Manifest(kind, str(metadata["name"]), str(metadata.get("namespace") or _NAMESPACE), spec)


def check_fields(given: Mapping[str, Any], spec: Model) -> None:
    """Refuse fields that there are not, as kubectl does before it sends a manifest.

    Raises:
        InvalidSpec: with the nearest one that there is.
    """
    for path, known in _unknown(given, spec.model_dump(by_alias=True, mode="json"), "spec"):
        near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InvalidSpec(f"There is no field {path}.{hint}")


def _unknown(given: Any, read: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(given, dict) and isinstance(read, dict):
        for name, value in given.items():
            if name in read:
                yield from _unknown(value, read[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}", list(read)
    elif isinstance(given, list) and isinstance(read, list):
        for at, (item, its) in enumerate(zip(given, read, strict=False)):
            yield from _unknown(item, its, f"{path}[{at}]")
