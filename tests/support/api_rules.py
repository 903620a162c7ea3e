"""Every rule of the API with an object that it refuses and a similar one that it lets pass.

The unit tests hold the models' Python conditions to this table and check that no rule is missing from it;
the integration tests hold the CRDs to it, in a real API server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlpools_operator.api.v1alpha1.lightgbm import RESERVED_PARAMS as LIGHTGBM_RESERVED
from tests.support.manifests import ABSENT

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A rule about an object by itself.

    Attributes:
        where: YAML path of the schema that carries the rule: a list's entries are ``[]``, a map's ``.*``.
        message: of the rule, whole or the part that tells it from others.
        refused: changes to an ordinary spec that break it.
        accepted: changes that come near and do not.
    """

    kind: str
    where: str
    message: str
    refused: Changes
    accepted: Changes


@dataclass(frozen=True)
class Transition:
    """A rule about changes of an object.

    Attributes:
        status: of the object when it is changed.
        refused: changes that break the rule, each of them alone.
        accepted: changes that do not, each of them alone.
    """

    kind: str
    where: str
    message: str
    status: Mapping[str, Any]
    refused: Changes
    accepted: Changes


def _pool(where: str, message: str, refused: Changes, accepted: Changes) -> Case:
    return Case("ComputePool", where, message, refused, accepted)


def _job(where: str, message: str, refused: Changes, accepted: Changes) -> Case:
    return Case("TrainingJob", where, message, refused, accepted)


def _toleration(message: str, refused: Changes, accepted: Changes) -> Case:
    return _pool("spec.tolerations[]", message, {"tolerations": [refused]}, {"tolerations": [accepted]})


def _reserved_param(name: str, value: Any) -> Case:
    field = "xgboost.params"
    return _job(
        f"spec.{field}", f"{name} is not taken in params", {f"{field}.{name}": value}, {f"{field}.gamma": 0}
    )


def _trees(section: str) -> tuple[Case, ...]:
    """Return the rules that both sections of boosted trees have."""

    def rule(message: str, refused: Changes, accepted: Changes) -> Case:
        base = {"xgboost": ABSENT, "lightgbm": {"label": "arr_delay"}} if section == "lightgbm" else {}
        under = [{f"{section}.{name}": value for name, value in it.items()} for it in (refused, accepted)]
        return _job(f"spec.{section}", message, {**base, **under[0]}, {**base, **under[1]})

    alone = "must be a column of its own"
    return (
        rule("either features or excluded", {"features": ["a"], "excluded": ["b"]}, {"excluded": ["b"]}),
        rule("label must not be one of features", {"features": ["a", "arr_delay"]}, {"features": ["a", "b"]}),
        rule(f"weight {alone}", {"weight": "arr_delay"}, {"weight": "w"}),
        rule(f"weight {alone}", {"weight": "w", "features": ["w"]}, {"weight": "w", "features": ["a"]}),
        rule(
            f"groupColumn {alone}", {"groupColumn": "w", "weight": "w"}, {"groupColumn": "q", "weight": "w"}
        ),
        rule(
            f"baseMargin {alone}",
            {"baseMargin": "q", "groupColumn": "q"},
            {"baseMargin": "m", "groupColumn": "q", "features": ["a"]},
        ),
    )


_LIGHTGBM = {"xgboost": ABSENT, "lightgbm": {"label": "arr_delay"}}


def _reserved_of_lightgbm(name: str, value: Any) -> Case:
    return _job(
        "spec.lightgbm.params",
        f"{name} is not taken in params",
        {**_LIGHTGBM, f"lightgbm.params.{name}": value},
        {**_LIGHTGBM, "lightgbm.params.num_leaves": 7},
    )


def _volume(source: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Volumes of a spec that still has the one that its output needs."""
    return [{"name": "data", "emptyDir": {}}, {"name": "more", **source}]


def _env(variable: Mapping[str, Any]) -> Changes:
    return {"env": [{"name": "ONE", "value": "1"}, variable]}


def _requirement(where: str, field: Callable[[Changes], Changes]) -> Case:
    """A rule on the conditions of a selector of namespaces, wherever there is one."""
    refused = {"key": "tier", "operator": "Exists", "values": ["a"]}
    accepted = {"key": "tier", "operator": "In", "values": ["a"]}
    message = "In and NotIn need values"
    return _pool(
        f"{where}.matchExpressions[]",
        message,
        field({"matchExpressions": [refused]}),
        field({"matchExpressions": [accepted, {"key": "tier", "operator": "DoesNotExist"}]}),
    )


POOL_RULES = (
    _requirement("spec.namespaces", lambda selector: {"namespaces": selector}),
    _requirement(
        "spec.queue.limits[].namespaces", lambda selector: {"queue.limits": [{"namespaces": selector}]}
    ),
    _pool(
        "spec",
        "exactly one of instanceFamily and instance",
        {"instanceFamily": "cpu-large"},
        {"instanceFamily": "cpu-large", "instance": ABSENT},
    ),
    _pool("spec", "exactly one of instanceFamily and instance", {"instance": ABSENT}, {}),
    _pool(
        "spec",
        "backupInstanceFamilies are for a pool with an instanceFamily, and differ from it",
        {"backupInstanceFamilies": ["cpu-large"]},
        {"instance": ABSENT, "instanceFamily": "cpu-small", "backupInstanceFamilies": ["cpu-large"]},
    ),
    _pool(
        "spec",
        "backupInstanceFamilies are for a pool with an instanceFamily, and differ from it",
        {"instance": ABSENT, "instanceFamily": "cpu-large", "backupInstanceFamilies": ["gpu", "cpu-large"]},
        {"instance": ABSENT, "instanceFamily": "cpu-large", "backupInstanceFamilies": ["gpu", "cpu-small"]},
    ),
    _pool("spec", "minNodes must not be above maxNodes", {"minNodes": 5}, {"minNodes": 4}),
    _pool("spec.instance.cpu", "at least 1m", {"instance.cpu": "0.0001"}, {"instance.cpu": "1m"}),
    _pool("spec.instance.cpu", "at least 1m", {"instance.cpu": 0}, {"instance.cpu": 64}),
    _pool("spec.instance.memory", "above 0", {"instance.memory": "0Gi"}, {"instance.memory": "0.5Gi"}),
    _pool("spec.instance.memory", "above 0", {"instance.memory": 0}, {"instance.memory": 4_000_000_000}),
    _pool(
        "spec.instance.ephemeralStorage",
        "above 0",
        {"instance.ephemeralStorage": "0"},
        {"instance.ephemeralStorage": "20G"},
    ),
    _toleration("without a key", {"effect": "NoSchedule"}, {"operator": "Exists", "effect": "NoSchedule"}),
    _toleration(
        "Exists takes no value", {"key": "a", "operator": "Exists", "value": "b"}, {"key": "a", "value": "b"}
    ),
    _toleration(
        "tolerationSeconds needs",
        {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5},
        {"key": "a", "effect": "NoExecute", "tolerationSeconds": 5},
    ),
)

_MAIN = "spec.podTemplate.spec"
_ON_POD = {
    "restartPolicy": "Never",
    "hostname": "a",
    "subdomain": "a",
    "nodeName": "node-a",
    "hostNetwork": True,
    "priorityClassName": "high",
    "priority": 5,
    "terminationGracePeriodSeconds": 5,
    "activeDeadlineSeconds": 5,
    "resources": {},
}
_ON_MAIN = {
    "command": ["sh"],
    "args": ["-c"],
    "image": "other:1",
    "imagePullPolicy": "Always",
    "restartPolicy": "Never",
    "terminationMessagePath": "/dev/null",
    "terminationMessagePolicy": "File",
}


def _network(message: str, refused: Changes, accepted: Changes, field: str = "") -> Case:
    return _pool(f"spec.network{field}", message, {"network": refused}, {"network": accepted})


def _main(message: str, refused: Changes, accepted: Changes) -> Case:
    """A rule on what the overlay says of the container that runs the job."""
    path = "podTemplate.spec.containers"
    return _pool(
        _MAIN, message, {path: [{"name": "main", **refused}]}, {path: [{"name": "main", **accepted}]}
    )


POD_RULES = (
    _pool(
        "spec.priorityClassName",
        "jobs need a higher one",
        {"priorityClassName": "mlpools-placeholder"},
        {"priorityClassName": "high"},
    ),
    _pool(
        "spec.runtime",
        "requireDigest holds for the pool's own image",
        {"runtime": {"requireDigest": True, "image": "ml/runtime@sha256:0123"}},
        {"runtime": {"requireDigest": True, "image": f"ml/runtime@sha256:{'0a' * 32}"}},
    ),
    _pool(
        "spec.packages.indexURL",
        "must not hold a user or password",
        {"packages.indexURL": "https://ada:secret@pypi.test/simple"},
        {"packages.indexURL": "https://pypi.test/@team/simple"},
    ),
    _pool(
        "spec.packages.extraIndexURLs[]",
        "must not hold a user or password",
        {"packages.extraIndexURLs": ["https://token@pypi.test/simple"]},
        {"packages.extraIndexURLs": ["http://pypi.test:8080/simple"]},
    ),
    _pool(
        "spec.packages",
        "credentialsSecret needs the indexURL",
        {"packages": {"credentialsSecret": "login"}},
        {"packages": {"credentialsSecret": "login", "indexURL": "https://pypi.test"}},
    ),
    _pool("spec.cache.size", "must be a quantity above 0", {"cache.size": "0"}, {"cache.size": "200Gi"}),
    _pool(
        "spec.cache.volume",
        "exactly one of persistentVolumeClaim, csi and hostPath",
        {"cache.volume": {"hostPath": {"path": "/nvme/cache"}, "csi": {"driver": "local.test"}}},
        {"cache.volume": {"csi": {"driver": "local.test"}}},
    ),
    _pool(
        "spec.cache.volume.hostPath.path",
        "is a folder of the system",
        {"cache.volume": {"hostPath": {"path": "/etc"}}},
        {"cache.volume": {"hostPath": {"path": "/nvme/cache"}}},
    ),
    _network(
        "RDMA needs the device", {"profile": "RDMA"}, {"profile": "RDMA", "networks": ["ib/rail-0@net1"]}
    ),
    _network(
        "RDMA needs the device",
        {"profile": "RDMA", "resources": {}},
        {"profile": "RDMA", "resources": {"a/b": 1}},
    ),
    _network(
        "spec.instance",
        {"resources": {"memory": "1Gi"}},
        {"resources": {"hugepages-2Mi": "1Gi"}},
        ".resources",
    ),
    _network(
        "spec.instance", {"resources": {"amd.com/gpu": 1}}, {"resources": {"rdma/ib": "1"}}, ".resources"
    ),
    _network("above 0", {"resources": {"rdma/ib": 0}}, {"resources": {"rdma/ib": 8}}, ".resources.*"),
    _network("do not begin with a digit", {"env": {"1A": "x"}}, {"env": {"A1": "x"}}, ".env"),
    _network("mlpools' own", {"env": {"MLPOOLS_TASK": "x"}}, {"env": {"MLPOOL": "x"}}, ".env"),
    _network(
        "mlpools' own", {"env": {"JOB_COMPLETION_INDEX": "1"}}, {"env": {"NCCL_IB_HCA": "=mlx5_0"}}, ".env"
    ),
    _network("or a quantity above 0", {"sharedMemory": "0Gi"}, {"sharedMemory": "1Gi"}, ".sharedMemory"),
    _pool(
        "spec",
        "sharedMemory must be smaller",
        {"network.sharedMemory": "4Gi"},
        {"network.sharedMemory": "3900Mi"},
    ),
    *(
        _pool(
            _MAIN,
            f"cannot set {name}:",
            {f"podTemplate.spec.{name}": value},
            {"podTemplate.spec.dnsPolicy": "None"},
        )
        for name, value in _ON_POD.items()
    ),
    *(
        _main(f"cannot set {name} of", {name: value}, {"workingDir": "/scratch"})
        for name, value in _ON_MAIN.items()
    ),
    _pool(
        _MAIN,
        "takes only main",
        {"podTemplate.spec.containers": [{"name": "logs", "image": "a:1"}]},
        {"podTemplate.spec.initContainers": [{"name": "logs", "image": "a:1", "restartPolicy": "Always"}]},
    ),
    _main(
        "requests and limits",
        {"resources": {"limits": {"cpu": "9"}}},
        {"resources": {"claims": [{"name": "ib"}]}},
    ),
    _main("requests and limits", {"resources": {"requests": {}}}, {"resources": {}}),
    _main(
        "they tell a rank",
        {"env": [{"name": "HTTPS_PROXY", "value": "p:1"}, {"name": "MLPOOLS_TASK", "value": "{}"}]},
        {"env": [{"name": "HTTPS_PROXY", "value": "p:1"}]},
    ),
    _main("they tell a rank", {"env": [{"name": "JOB_COMPLETION_INDEX", "value": "1"}]}, {"env": []}),
    *(
        _pool(
            "spec.podTemplate.metadata.labels",
            "how a job's pods are found",
            {"podTemplate.metadata": {"labels": {name: "x"}}},
            {"podTemplate.metadata": {"labels": {"team": "ml", "app.kubernetes.io/part-of": "x"}}},
        )
        for name in (
            "mlpools.dev/job-uid",
            "batch.kubernetes.io/job-name",
            "app.kubernetes.io/managed-by",
            "job-name",
        )
    ),
)

_PLACE = "must be an absolute path or a file:/// URL"
_MOUNTED = "must lie on a writable volume"
_LOGIN = "must not hold a user or password"
_SEVERAL = {"train": {"parquet": {"url": "/data/a"}}, "eval-2013": {"parquet": {"url": "/data/b"}}}
_READ_ONLY = [{"name": "data", "mountPath": "/data", "readOnly": True}]
_URL, _URLS = "data.train.parquet.url", "data.train.parquet.urls"


def _file_rules(kind: str) -> Iterator[Case]:
    """The rules that all kinds of files share; Parquet's have more cases."""
    secret = "s3://key:secret@bucket/a"
    for field, bad, login, good in (
        ("url", "a/b", secret, "/a/b"),
        ("urls", ["a/b"], [secret], ["/a/b"]),
    ):
        where = f"spec.data.*.{kind}.{field}" + ("[]" if field == "urls" else "")
        accepted = {"data.train": {kind: {field: good}}}
        yield _job(where, _PLACE, {"data.train": {kind: {field: bad}}}, accepted)
        yield _job(where, _LOGIN, {"data.train": {kind: {field: login}}}, accepted)
    one, both = {"url": "/a"}, {"url": "/a", "urls": ["/b"]}
    yield _job(f"spec.data.*.{kind}", "either url", {"data.train": {kind: both}}, {"data.train": {kind: one}})


def _delta(**fields: Any) -> dict[str, Any]:
    return {"data.train": {"delta": fields}}


def _dataset(**fields: Any) -> dict[str, Any]:
    return {"data.train": {"dataset": {"name": "flights", "version": "2013", **fields}}}


_GIT = {"url": "https://git.test/team/train", "revision": "main"}
_ARCHIVE = {"url": "https://files.test/code.zip", "sha256": "0" * 64}


def _program_rules(framework: str) -> Iterator[Case]:
    """The rules that all programs share, and those of their code."""
    program = {"xgboost": ABSENT, framework: {"file": "train.py"}}

    def code(where: str, message: str, refused: Any, accepted: Any) -> Case:
        changes = ({**program, f"{framework}.code": code} for code in (refused, accepted))
        return _job(f"spec.{framework}.code{where}", message, *changes)

    yield _job("spec", "Say what to train: exactly one of", {framework: program[framework]}, program)
    yield _job(
        f"spec.{framework}",
        "exactly one of command, module and file",
        {**program, f"{framework}.module": "train"},
        {"xgboost": ABSENT, framework: {"command": ["./train", "--fast"]}},
    )
    yield code("", "exactly one of configMap, url and git", {"configMap": "code", "git": _GIT}, {"git": _GIT})
    yield code("", "url and sha256 go together", {"url": _ARCHIVE["url"]}, _ARCHIVE)
    yield code(
        ".url", "must be an absolute path", {**_ARCHIVE, "url": "code.zip"}, {**_ARCHIVE, "url": "/code.zip"}
    )
    yield code(".url", _LOGIN, {**_ARCHIVE, "url": "https://me:secret@files.test/code.zip"}, _ARCHIVE)
    yield code(".git.url", _LOGIN, {"git": {**_GIT, "url": "https://me:secret@git.test/a"}}, {"git": _GIT})


JOB_RULES = (
    *_program_rules("pytorch"),
    *_program_rules("script"),
    _job(
        "spec",
        "xgboost.earlyStoppingRounds needs held-out rows",
        {"xgboost.earlyStoppingRounds": 5},
        {"xgboost.earlyStoppingRounds": 5, "data.eval": {"parquet": {"url": "/data/eval"}}},
    ),
    _job(
        "spec",
        "must name one of volumes",
        {"volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "dat", "mountPath": "/more"}]},
        {"volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/more"}]},
    ),
    _job(
        "spec",
        "cancel ends a run for good",
        {"schedule": {"cron": "0 2 * * *"}, "cancel": True},
        {"schedule": {"cron": "0 2 * * *"}, "cancel": False, "suspend": True},
    ),
    *(
        _job("spec.schedule.cron", "five fields", {"schedule": {"cron": cron}}, {"schedule": {"cron": good}})
        for cron, good in (
            ("0 0 2 * * *", "0 2 * * *"),
            ("@every 10 minutes", " */10  * * * * "),
            ("0 2\t* * *", "0 2 * JAN,dec MON-FRI"),
        )
    ),
    _job("spec", "output.url " + _MOUNTED, {"output.url": "file:///database"}, {"output.url": "/data"}),
    _job("spec", "output.url " + _MOUNTED, {"volumeMounts": _READ_ONLY}, {}),
    _job("spec", "output.url " + _MOUNTED, {"volumeMounts": ABSENT, "volumes": ABSENT}, {}),
    _job(
        "spec",
        "checkpoint.url " + _MOUNTED,
        {"checkpoint.url": "/other"},
        {"checkpoint.url": "/data/checkpoints"},
    ),
    _job("spec.output.url", _PLACE, {"output.url": "https://host/model"}, {"output.url": "/data/model"}),
    _job("spec.checkpoint.url", _PLACE, {"checkpoint.url": "data/c"}, {"checkpoint.url": "file:///data/c"}),
    _job(
        "spec.checkpoint.url",
        _LOGIN,
        {"checkpoint.url": "gs://key@bucket/c"},
        {"checkpoint.url": "gs://bucket/c"},
    ),
    _job(
        "spec.checkpoint",
        "either everyRounds or everySeconds",
        {"checkpoint": {"everyRounds": 5, "everySeconds": 5}},
        {"checkpoint": {"everyRounds": 5}},
    ),
    _job(
        "spec",
        "an entry named train",
        {"data": {"eval": {"parquet": {"url": "/data"}}}},
        {"data": _SEVERAL},
    ),
    _job(
        "spec",
        "an entry named train",
        {"data": ABSENT},
        {"xgboost": ABSENT, "pytorch": {"file": "train.py"}, "data": ABSENT},
    ),
    _job("spec.data", "lower-case letters", {"data.Eval": {"parquet": {"url": "/data"}}}, {"data": _SEVERAL}),
    _job(
        "spec.data",
        "at most 63",
        {f"data.{'e' * 64}": {"parquet": {"url": "/x"}}},
        {f"data.{'e' * 63}": {"parquet": {"url": "/x"}}},
    ),
    _job("spec.data.*", "what kind of source", {"data.train": {}}, {}),
    _job(
        "spec.data.*.parquet",
        "either url",
        {_URLS: ["/data/a"]},
        {"data.train.parquet": {"urls": ["/data/a"]}},
    ),
    _job("spec.data.*.parquet", "either url", {"data.train.parquet": {}}, {}),
    _job("spec.data.*.parquet.url", _PLACE, {_URL: "file://host/data"}, {_URL: "/data/*.parquet"}),
    _job("spec.data.*.parquet.url", _PLACE, {_URL: "data/train"}, {_URL: "/anywhere"}),
    _job(
        "spec.data.*.parquet.urls[]",
        _PLACE,
        {"data.train.parquet": {"urls": ["/a", "ftp://b/c"]}},
        {"data.train.parquet": {"urls": ["/a", "file:///b", "s3://b", "https://example.test/c.parquet"]}},
    ),
    _job("spec.data.*.parquet.url", _LOGIN, {_URL: "s3://key:secret@bucket/a"}, {_URL: "s3://bucket/a@b"}),
    _job(
        "spec.data.*.parquet.url",
        _LOGIN,
        {_URL: "abfs://box:key@account.dfs.core.windows.net/a"},
        {_URL: "abfs://box@account.dfs.core.windows.net/a"},
    ),
    _job("spec.data.*.parquet.urls[]", _LOGIN, {"data.train.parquet": {"urls": ["https://ada@host/a"]}}, {}),
    *(rule for kind in ("csv", "json", "arrow", "orc") for rule in _file_rules(kind)),
    _job("spec.data.*.delta.url", _PLACE, _delta(url="tables/a"), _delta(url="gs://lake/a")),
    _job("spec.data.*.delta.url", _LOGIN, _delta(url="gs://key@lake/a"), _delta(url="/lake/a", version=3)),
    _job(
        "spec.data.*.delta",
        "two versions",
        _delta(url="/lake/a", version=0, timestamp="2026-01-01T00:00:00Z"),
        _delta(url="/lake/a", timestamp="2026-01-01T00:00:00Z"),
    ),
    _job("spec.data.*.dataset.root", _PLACE, _dataset(root="sets"), _dataset(root="/data/sets")),
    _job("spec.data.*.dataset.root", _LOGIN, _dataset(root="gs://key@sets/a"), _dataset(root="gs://sets/a")),
    _job(
        "spec.data.*",
        "what kind of source",
        {"data.train": {"parquet": {"url": "/a"}, "sql": {"connectionSecret": "db", "query": "SELECT 1"}}},
        {
            "data.train": {
                "sql": {"connectionSecret": "db", "query": "SELECT 1"},
                "columns": ["a"],
                "limit": 1,
            }
        },
    ),
    _job(
        "spec.output.url", _LOGIN, {"output.url": "s3://key:secret@models/a"}, {"output.url": "s3://models/a"}
    ),
    *_trees("xgboost"),
    *_trees("lightgbm"),
    *(_reserved_of_lightgbm(name, 5) for name in LIGHTGBM_RESERVED),
    _job(
        "spec",
        "lightgbm.earlyStoppingRounds needs held-out rows",
        {**_LIGHTGBM, "lightgbm.earlyStoppingRounds": 5},
        {**_LIGHTGBM, "lightgbm.earlyStoppingRounds": 5, "data.eval": {"parquet": {"url": "/data/eval"}}},
    ),
    _job(
        "spec",
        "treeLearner feature needs all rows on every node",
        {**_LIGHTGBM, "nodes": 2, "lightgbm.treeLearner": "feature"},
        {**_LIGHTGBM, "nodes": 2, "lightgbm.treeLearner": "voting"},
    ),
    _reserved_param("objective", "reg:squarederror"),
    _reserved_param("eval_metric", "rmse"),
    _reserved_param("num_boost_round", 5),
    _reserved_param("num_round", 5),
    _reserved_param("n_estimators", 5),
    _reserved_param("early_stopping_rounds", 5),
    _reserved_param("nthread", 5),
    _reserved_param("n_jobs", 5),
    _reserved_param("device", "cuda"),
    _job(
        "spec.env[]",
        "either value or valueFrom",
        _env({"name": "TWO", "value": "2", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        _env({"name": "TWO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    ),
    _job(
        "spec.env[].name", "mlpools' own", _env({"name": "MLPOOLS_TASK"}), _env({"name": "NOT_MLPOOLS_TASK"})
    ),
    _job("spec.env[].name", "mlpools' own", _env({"name": "JOB_COMPLETION_INDEX"}), _env({"name": "JOB"})),
    _job(
        "spec.env[].valueFrom",
        "exactly one of secretKeyRef",
        _env({"name": "TWO", "valueFrom": {}}),
        _env({"name": "TWO", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "two"}}}),
    ),
    _job(
        "spec.env[].valueFrom",
        "exactly one of secretKeyRef",
        _env(
            {
                "name": "TWO",
                "valueFrom": {
                    "secretKeyRef": {"name": "s", "key": "a"},
                    "configMapKeyRef": {"name": "c", "key": "a"},
                },
            }
        ),
        _env({"name": "TWO", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "a"}}}),
    ),
    _job(
        "spec.envFrom[]",
        "exactly one of configMapRef",
        {"envFrom": [{"prefix": "A_"}]},
        {"envFrom": [{"prefix": "A_", "secretRef": {"name": "s"}}]},
    ),
    _job(
        "spec.envFrom[].prefix",
        "mlpools' own",
        {"envFrom": [{"prefix": "MLPOOLS_", "secretRef": {"name": "s"}}]},
        {"envFrom": [{"prefix": "MY_", "configMapRef": {"name": "c", "optional": True}}]},
    ),
    _job(
        "spec.volumes[]",
        "A volume is exactly one of",
        {"volumes": _volume({})},
        {
            "volumes": _volume(
                {"configMap": {"name": "c", "items": [{"key": "a", "path": "a/b", "mode": 256}]}}
            )
        },
    ),
    _job(
        "spec.volumes[]",
        "A volume is exactly one of",
        {"volumes": _volume({"emptyDir": {}, "secret": {"secretName": "s"}})},
        {"volumes": _volume({"csi": {"driver": "d.csi", "volumeAttributes": {"a": "b"}}})},
    ),
    _job(
        "spec.volumes[].name",
        "mlpools' own",
        {"volumes": [*_volume({"emptyDir": {}}), {"name": "mlpools-x", "emptyDir": {}}]},
        {"volumes": [*_volume({"emptyDir": {}}), {"name": "my-mlpools-x", "emptyDir": {}}]},
    ),
    _job(
        "spec.volumes[].emptyDir.sizeLimit",
        "above 0",
        {"volumes": _volume({"emptyDir": {"sizeLimit": "0"}})},
        {"volumes": _volume({"emptyDir": {"sizeLimit": "1Gi", "medium": "Memory"}})},
    ),
    _job(
        "spec.volumes[].projected.sources[]",
        "serviceAccountToken is refused",
        {"volumes": _volume({"projected": {"sources": [{}]}})},
        {
            "volumes": _volume(
                {
                    "projected": {
                        "sources": [
                            {"secret": {"name": "s"}},
                            {"configMap": {"name": "c"}},
                            {
                                "downwardAPI": {
                                    "items": [
                                        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
                                    ]
                                }
                            },
                        ]
                    }
                }
            )
        },
    ),
    *(
        _job(
            "spec.volumeMounts[].mountPath",
            "mounted by mlpools itself",
            {"volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": path}]},
            {
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "data", "mountPath": path + "/more"},
                ]
            },
        )
        for path in ("/tmp", "/scratch", "/dev/shm", "/cache", "/etc/mlpools/connections")
    ),
)

#: Rules that CEL cannot express, so that only the operator finds them.
OPERATOR_RULES = (
    *(
        _job(
            "spec.schedule.cron",
            "no times that ever come",
            {"schedule": {"cron": cron}},
            {"schedule": {"cron": good}},
        )
        for cron, good in (
            ("0 0 30 2 *", "0 0 29 2 *"),
            ("60 * * * *", "59 * * * *"),
            ("0 2 * * MON-FRY", "0 2 L * FRI#2"),
        )
    ),
    *(
        _job(
            "spec.schedule.timeZone",
            "no time zone of this name",
            {"schedule": {"cron": "0 2 * * *", "timeZone": zone}},
            {"schedule": {"cron": "0 2 * * *", "timeZone": good}},
        )
        for zone, good in (("Europe/Berln", "Europe/Berlin"), ("Europe", "UTC"))
    ),
    _pool(
        _MAIN,
        "at most 32 KiB",
        {"podTemplate.spec.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x" * 33_000]}]},
        {"podTemplate.spec.hostAliases": [{"ip": "10.0.0.1", "hostnames": ["x" * 32_000]}]},
    ),
    _pool(
        "spec.affinity",
        "at most 32 KiB",
        {"affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution": [{"x": "y" * 33_000}]},
        {"affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution": [{"x": "y" * 32_000}]},
    ),
    _job(
        "spec.xgboost.params",
        "params takes numbers",
        {"xgboost.params.a": {"b": 1}},
        {"xgboost.params.a": [1, "b"]},
    ),
    _job(
        "spec.xgboost.params", "params takes numbers", {"xgboost.params.a": None}, {"xgboost.params.a": True}
    ),
    _job(
        "spec.lightgbm.params",
        "params takes numbers",
        {**_LIGHTGBM, "lightgbm.params.a": {"b": 1}},
        {**_LIGHTGBM, "lightgbm.params.a": [1, "b"]},
    ),
    _job(
        "spec.xgboost.params",
        "begins with dmlc_",
        {"xgboost.params.DMLC_uri": "x"},
        {"xgboost.params.uri": "x"},
    ),
)

ENDED = [
    {
        "type": "Failed",
        "status": "True",
        "reason": "Hung",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
]
PARTS_OF_A_STARTED_JOB = {
    "nodes": 2,
    "xgboost.rounds": 7,
    "xgboost.params.eta": 0.2,
    "xgboost.params.gamma": 0.2,
    "xgboost.label": "dep_delay",
    "data.train.parquet.url": "/data/other",
    "data.eval": {"parquet": {"url": "/data/eval"}},
    "output.mode": "Overwrite",
    "checkpoint.everyRounds": 5,
    "env": [{"name": "A", "value": "b"}],
    "envFrom": [{"secretRef": {"name": "s"}}],
    "volumes": [{"name": "data", "emptyDir": {}}],
    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "a"}],
    "serviceAccountName": "trainer",
    "runtime.image": "example.com/image:1",
    "schedule": {"cron": "0 2 * * *"},
    "runtime.packages": ["polars==1.2"],
}
ALWAYS = {
    "suspend": True,
    "cancel": True,
    "activeDeadlineSeconds": 600,
    "startTimeoutSeconds": 60,
    "ttlSecondsAfterFinished": 60,
    "priority": 5,
    "maxRestarts": 5,
    "restartBackoffSeconds": 5,
    "hangTimeoutSeconds": 0,
    "terminationGracePeriodSeconds": 5,
}
TRANSITIONS = (
    Transition(
        "TrainingJob",
        "spec.computePool",
        "computePool cannot be changed",
        {},
        {"computePool": "other"},
        {**PARTS_OF_A_STARTED_JOB, **ALWAYS},
    ),
    Transition("TrainingJob", "", "The job has started", {"attempt": 1}, PARTS_OF_A_STARTED_JOB, ALWAYS),
    Transition(
        "TrainingJob",
        "",
        "The job has ended",
        {"conditions": ENDED},
        {**PARTS_OF_A_STARTED_JOB, **ALWAYS},
        {},
    ),
)

CASES = (*POOL_RULES, *POD_RULES, *JOB_RULES)
