"""Specs that together set every field of a NotebookRuntime, see ``every_field``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.every_field import GIT, JOBS

#: Of a TrainingJob: what all kinds have in common.
_EVERYTHING = JOBS["xgboost"]
_COMMON = ("env", "envFrom", "volumes", "volumeMounts", "serviceAccountName", "runtime")

NOTEBOOKS: Mapping[str, Mapping[str, Any]] = {
    "server": {
        **{name: _EVERYTHING[name] for name in _COMMON},
        "command": ["python", "-m", "http.server"],
        "args": ["9000"],
        "port": 9000,
        "storage": {
            "size": "20Gi",
            "storageClassName": "fast",
            "retain": False,
            "runAsUser": 2000,
            "fsGroup": 3000,
        },
        "idleSeconds": 600,
        "idle": {"cpuPercent": 10, "gpuPercent": 20, "maxBusySeconds": 3600},
        "suspend": False,
        "access": {"tokenSecret": "door"},
        "cluster": {"nodes": 1, "maxNodes": 2},
    },
    "lab": {
        "access": {"ingress": {"className": "nginx", "tls": {"secretName": "door-tls"}}},
        "egress": ["files.example.invalid:443", "10.0.0.0/8"],
        "git": GIT,
        "schedule": {
            **JOBS["excluded"]["schedule"],
            "notebook": "reports/daily.ipynb",
            "parameters": {"day": "{date}", "rounds": 20, "columns": ["a", "b"], "more": {"deep": None}},
            "activeDeadlineSeconds": 600,
            "suspend": True,
        },
    },
}
