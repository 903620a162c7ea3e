"""Manifests that readers copy: in examples and in documents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mlpools_operator.api.v1alpha1 import API_VERSION, KINDS, TrainingJobSpec, parse
from mlpools_operator.domain.training.hyperparameters import check_xgboost

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.M | re.S)


def blocks(path: Path) -> list[Any]:
    """The YAML documents of a Markdown file's fenced blocks."""
    return [document for text in _BLOCK.findall(path.read_text()) for document in yaml.safe_load_all(text)]


def check(document: Any) -> bool:
    """Check a manifest of our kinds as `kubectl apply` and the operator will; say whether it was one.

    Raises:
        ValueError: it would be refused.
    """
    if not isinstance(document, Mapping) or document.get("apiVersion") != API_VERSION:
        return False
    kind = KINDS[document["kind"]]
    crd = yaml.safe_load((ROOT / "crds" / f"mlpools.dev_{kind.plural}.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    if unknown := list(_unknown(schema, document["spec"], "spec")):
        raise ValueError(f"unknown fields: {', '.join(unknown)}")
    spec = parse(kind.name, document["spec"])
    if isinstance(spec, TrainingJobSpec) and spec.xgboost:
        check_xgboost(spec.xgboost, spec.nodes)
    return True


def _unknown(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[str]:
    """Yield the paths of fields that the schema does not have; the models ignore those."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(schema["items"], item, f"{path}[{index}]")
    elif isinstance(value, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if inner is None:
                yield f"{path}.{name}"
            else:
                yield from _unknown(inner, item, f"{path}.{name}")
