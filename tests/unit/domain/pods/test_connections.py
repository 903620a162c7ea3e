"""Databases of a job: whose Secret lies where, and who says that it is missing."""

from __future__ import annotations

from pathlib import Path

from mlpools.contract.tasks import Task
from mlpools.data.sources import from_spec
from mlpools.data.sql.source import SqlSource
from tests.support.built import build, main, pod, variables

_LONG = "e" * 63
_DATA = {
    "data": {
        "train": {"sql": {"connectionSecret": "warehouse", "query": "SELECT * FROM flights"}},
        "eval": {"parquet": {"url": "/data/eval"}},
        _LONG: {"sql": {"connectionSecret": "lake", "query": "SELECT 1 AS arr_delay", "partitionOn": "day"}},
    }
}


def test_a_secret_lies_where_the_runtime_looks_for_it() -> None:
    built = build(_DATA)
    secrets = {
        it["name"]: it["secret"]
        for it in pod(built)["volumes"]
        if it["name"].startswith("mlpools-connection")
    }
    assert all(len(name) <= 63 for name in secrets)
    mounted = {it["mountPath"]: it for it in main(built)["volumeMounts"] if it["name"] in secrets}
    for name, secret in (("train", "warehouse"), (_LONG, "lake")):
        source = from_spec(name, _DATA["data"][name])
        assert isinstance(source, SqlSource)
        assert isinstance(source.connection, Path)
        mount = mounted[str(source.connection)]
        assert mount["readOnly"]
        assert secrets[mount["name"]] == {"secretName": secret, "optional": True, "defaultMode": 0o440}


def test_the_pod_is_told_which_secrets_it_needs() -> None:
    task = Task.from_json(variables(build(_DATA))["MLPOOLS_TASK"])
    assert {(it["kind"], it["name"], it["path"].rpartition("/")[2]) for it in task.required} >= {
        ("Secret", "warehouse", "train"),
        ("Secret", "lake", _LONG),
    }


def test_without_databases_there_is_nothing() -> None:
    assert not [it for it in pod(build())["volumes"] if "connection" in it["name"]]
