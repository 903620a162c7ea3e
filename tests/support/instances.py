"""A small catalogue of machines for tests."""

from __future__ import annotations

from typing import Any

from mlpools_operator.domain.pool.families import Family


def machine(cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    """Return an entry of a catalogue; ``more`` are fields of its shape."""
    return {"instance": {"cpu": cpu, "memory": memory, **more}}


#: As the operator's setting has it.
CATALOGUE = {
    "small": machine("1", "2Gi") | {"nodeSelector": {"machine": "small"}},
    "large": machine("2", "4Gi") | {"nodeSelector": {"machine": "large"}},
    "larger": machine("4", "8Gi") | {"nodeSelector": {"machine": "larger"}},
    "gpu": machine("2", "8Gi", gpus=1)
    | {
        "nodeSelector": {"machine": "gpu"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    },
}
FAMILIES = {name: Family.model_validate(entry) for name, entry in CATALOGUE.items()}
