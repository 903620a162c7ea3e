"""Specs that together set every field of the API, each as it is written.

The unit tests hold the models to them, and see that no field is missing; the integration tests have a real
API server take them, and the operator make pods of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.manifests import ABSENT

_SELECTOR = {
    "matchLabels": {"team": "a"},
    "matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "silver"]}],
}
_CSI = {
    "driver": "csi.example.com",
    "fsType": "ext4",
    "nodePublishSecretRef": {"name": "csi-login"},
    "readOnly": False,
    "volumeAttributes": {"share": "models"},
}
_MACHINES = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}
_NEAR = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "cache"}}}
_TERMS = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_NEAR],
    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": _NEAR}],
}

POOLS: Mapping[str, Mapping[str, Any]] = {
    "machines": {
        "instance": {
            "cpu": "1500m",
            "memory": "8Gi",
            "ephemeralStorage": "20Gi",
            "gpus": 1,
            "gpuResource": "amd.com/gpu",
        },
        "capacityTimeoutSeconds": 60,
        "minNodes": 0,
        "maxNodes": 4,
        "queue": {
            "preemption": "LowerPriority",
            "backfill": False,
            "backfillMaxWaitSeconds": 30,
            "fairShare": False,
            "maxQueued": 10,
            "disclose": "Counts",
            "limits": [
                {"namespaces": _SELECTOR, "maxNodes": 2, "maxPriority": 5, "nodeSecondsPer30d": 3600},
            ],
        },
        "autoSuspendSeconds": 0,
        "autoResume": False,
        "initiallySuspended": False,
        "suspend": False,
        "stopAll": "2026-01-01T00:00:00Z",
        "nodeSelector": {"disk": "nvme"},
        "tolerations": [
            {"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoExecute", "tolerationSeconds": 9}
        ],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": _MACHINES,
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": _MACHINES["nodeSelectorTerms"][0]}
                ],
            },
            "podAffinity": _TERMS,
            "podAntiAffinity": _TERMS,
        },
        "runtimeClassName": "gvisor",
        "schedulerName": "volcano",
        "priorityClassName": "system-cluster-critical",
        "placement": {"topologyKey": "rack", "strategy": "Pack", "required": True},
        "network": {
            "profile": "Custom",
            "interface": "eth0",
            "resources": {"rdma/hca_shared_devices_a": "1"},
            "networks": ["fast/rail-0@net1"],
            "ipcLock": True,
            "env": {"NCCL_DEBUG": "INFO"},
            "sharedMemory": "1Gi",
            "isolation": False,
        },
        "podTemplate": {
            "metadata": {"labels": {"team": "ml"}, "annotations": {"note": "ours"}},
            "spec": {
                "volumes": [{"name": "more", "emptyDir": {}}],
                "containers": [
                    {"name": "main", "env": [{"name": "HTTPS_PROXY", "value": "proxy:1"}], "resources": {}}
                ],
            },
        },
        "runtime": {
            "image": f"registry/train@sha256:{64 * 'a'}",
            "imagePullPolicy": "IfNotPresent",
            "imagePullSecrets": [{"name": "registry-login"}],
            "requireDigest": True,
            "allowedImages": ["registry/ml/*"],
        },
        "packages": {
            "indexURL": "https://pypi.test/simple",
            "extraIndexURLs": ["https://more.test/simple"],
            "credentialsSecret": "pypi-login",
            "caSecret": "pypi-ca",
            "allow": ["polars*"],
            "block": ["polars-old"],
        },
        "preflight": {"enabled": True, "minBusBandwidthGBs": 0.5, "timeoutSeconds": 30},
        "cache": {"size": "5Gi", "volume": {"hostPath": {"path": "/nvme/cache"}}},
        "lostNodeSeconds": 5,
    },
    "family": {
        "instance": ABSENT,
        "instanceFamily": "small",
        "backupInstanceFamilies": ["large"],
        "namespaces": {"matchExpressions": [{"key": "closed", "operator": "DoesNotExist"}]},
        "cache": {"volume": {"csi": _CSI}},
    },
    "claim": {
        "instance.cpu": "2",
        "namespaces": _SELECTOR,
        "cache": {"volume": {"persistentVolumeClaim": {"claimName": "cache", "readOnly": False}}},
    },
}

_TREES = {
    "rounds": 5,
    "label": "y",
    "features": ["a", "b"],
    "weight": "w",
    "groupColumn": "g",
    "baseMargin": "m",
    "earlyStoppingRounds": 2,
}
_URLS = ["file:///data/a/*", "file:///data/b/*"]
_ITEMS = [{"key": "a", "path": "a.txt", "mode": 0o400}]
_OTHER_ITEMS = [{"key": "b", "path": "b.txt", "mode": 0o400}]
CODE_URL = {"url": "https://code.test/code.tar.gz", "sha256": 64 * "a"}
GIT = {"url": "https://code.test/code.git", "revision": "main", "secret": "git-login"}

JOBS: Mapping[str, Mapping[str, Any]] = {
    "xgboost": {
        "nodes": 2,
        "workersPerNode": 2,
        "xgboost": {
            **_TREES,
            "objective": "rank:ndcg",
            "params": {"eta": 0.1},
            "externalMemory": "never",
            "evalMetrics": ["ndcg@5"],
        },
        "data": {
            "train": {
                "parquet": {"urls": _URLS, "options": {"pageChecksums": True}},
                "columns": ["a", "b", "y", "w", "g", "m"],
                "filter": "a > 1",
                "limit": 1000,
            },
            "eval": {"parquet": {"url": "file:///data/eval.parquet"}},
        },
        "output": {"url": "file:///data/model", "mode": "Overwrite"},
        "checkpoint": {"url": "file:///data/checkpoints", "everyRounds": 2, "keep": 3},
        "priority": 1,
        "suspend": False,
        "cancel": False,
        "maxRestarts": 1,
        "restartBackoffSeconds": 2,
        "activeDeadlineSeconds": 3600,
        "startTimeoutSeconds": 60,
        "hangTimeoutSeconds": 60,
        "terminationGracePeriodSeconds": 30,
        "ttlSecondsAfterFinished": 3600,
        "env": [
            {"name": "PLAIN", "value": "1"},
            {
                "name": "SECRET",
                "valueFrom": {"secretKeyRef": {"name": "login", "key": "user", "optional": True}},
            },
            {
                "name": "CONFIG",
                "valueFrom": {"configMapKeyRef": {"name": "flags", "key": "a", "optional": True}},
            },
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        ],
        "envFrom": [
            {"prefix": "A_", "configMapRef": {"name": "flags", "optional": True}},
            {"secretRef": {"name": "login", "optional": True}},
        ],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "flights"}},
            {"name": "more", "persistentVolumeClaim": {"claimName": "more", "readOnly": True}},
            {
                "name": "flags",
                "configMap": {"name": "flags", "optional": True, "defaultMode": 0o440, "items": _ITEMS},
            },
            {
                "name": "login",
                "secret": {"secretName": "login", "optional": True, "defaultMode": 0o400, "items": _ITEMS},
            },
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
            {"name": "share", "csi": _CSI},
            {
                "name": "mixed",
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {"configMap": {"name": "flags", "optional": True, "items": _ITEMS}},
                        {"secret": {"name": "login", "optional": True, "items": _OTHER_ITEMS}},
                        {
                            "downwardAPI": {
                                "items": [
                                    {
                                        "path": "uid",
                                        "mode": 0o444,
                                        "fieldRef": {"fieldPath": "metadata.uid"},
                                    }
                                ]
                            }
                        },
                    ],
                },
            },
        ],
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "login", "mountPath": "/login", "readOnly": True, "subPath": "a.txt"},
        ],
        "securityContext": {"runAsUser": 2000, "fsGroup": 3000},
        "serviceAccountName": "default",
        "runtime": {
            "image": "registry/ml/train:1",
            "packages": ["polars==1.2"],
            "requirements": {"name": "reqs", "key": "all.txt"},
        },
    },
    "excluded": {
        "xgboost": {"label": "y", "excluded": ["b"]},
        "data": {"train": {"orc": {"urls": _URLS}}, "eval": {"orc": {"url": "file:///data/e.orc"}}},
        "checkpoint": {"everySeconds": 30},
        "schedule": {
            "cron": "0 2 * * *",
            "timeZone": "Europe/Berlin",
            "concurrencyPolicy": "Allow",
            "startingDeadlineSeconds": 120,
            "historyLimit": 1,
        },
    },
    "lightgbm": {
        "xgboost": ABSENT,
        "lightgbm": {
            **_TREES,
            "objective": "lambdarank",
            "params": {"num_leaves": 7},
            "treeLearner": "voting",
            "evalMetrics": ["ndcg"],
        },
        "data": {
            "train": {
                "csv": {
                    "urls": _URLS,
                    "options": {
                        "columnNames": ["a", "b", "y", "w", "g", "m"],
                        "decimalPoint": ",",
                        "delimiter": ";",
                        "encoding": "latin-1",
                        "escape": "\\",
                        "header": False,
                        "newlinesInValues": True,
                        "nullValues": ["-"],
                        "quote": "'",
                        "skipLines": 1,
                        "timestampFormats": ["%d.%m.%Y"],
                        "types": {"a": "float64"},
                    },
                }
            },
            "eval": {"csv": {"url": "file:///data/e.csv"}},
        },
    },
    "lightgbm-excluded": {
        "xgboost": ABSENT,
        "lightgbm": {"label": "y", "excluded": ["b"]},
        "data": {
            "train": {"arrow": {"urls": _URLS}},
            "eval": {"arrow": {"url": "file:///data/e.arrow"}},
        },
    },
    "module": {
        "xgboost": ABSENT,
        "pytorch": {
            "module": "train.main",
            "args": ["--fast"],
            "backend": "gloo",
            "hyperParams": {"lr": "0.1"},
            "code": CODE_URL,
        },
        "data": {
            "a": {"json": {"urls": _URLS, "options": {"newlinesInValues": True, "types": {"a": "int64"}}}},
            "b": {"json": {"url": "file:///data/b.json"}},
            "c": {"delta": {"url": "file:///data/table", "version": 3}},
            "d": {"delta": {"url": "file:///data/table", "timestamp": "2026-01-01T00:00:00Z"}},
            "e": {"iceberg": {"catalog": "file:///data/lake", "table": "a.b", "snapshot": 7}},
            "f": {"sql": {"connectionSecret": "db", "query": "select a from t", "partitionOn": "a"}},
            "g": {"dataset": {"root": "file:///data/sets", "name": "flights", "version": "v1"}},
        },
    },
    "git": {"xgboost": ABSENT, "data": {}, "pytorch": {"file": "main.py", "code": {"git": GIT}}},
    "command": {"xgboost": ABSENT, "data": {}, "pytorch": {"command": ["python", "main.py"]}},
    "config-map": {
        "xgboost": ABSENT,
        "data": {},
        "pytorch": {"file": "main.py", "code": {"configMap": "code"}},
    },
    "script": {
        "xgboost": ABSENT,
        "data": {},
        "script": {"module": "main", "args": ["-v"], "launcher": "torchrun", "code": CODE_URL},
    },
    "script-git": {"xgboost": ABSENT, "data": {}, "script": {"file": "main.py", "code": {"git": GIT}}},
    "script-command": {"xgboost": ABSENT, "data": {}, "script": {"command": ["make", "train"]}},
    "script-config-map": {
        "xgboost": ABSENT,
        "data": {},
        "script": {"file": "main.py", "code": {"configMap": "code"}},
    },
}


def contains(whole: Any, part: Any) -> bool:
    """Whether something says all that another says, defaults on top."""
    if isinstance(part, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)
