"""Data that does not lie on a volume: an object store, a database, and what goes wrong on the way to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.postgres import PASSWORD, Postgres
from tests.support.s3_server import S3Server
from tests.support.training import Training
from tools.kubectl import Kubectl
from tools.quickstart.follow import condition

QUICK = {"rounds": 8, "label": "arr_delay", "params": {"max_depth": 4}}


def make_secret(cluster: Kubectl, name: str, values: dict[str, str]) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
    cluster.apply(json.dumps(secret), namespace="default")


@pytest.fixture(scope="module")
def store(outside: str, tmp_path_factory: pytest.TempPathFactory, volume: Path) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3"), outside) as server:
        shutil.copytree(volume / "flights" / "train", server.make_bucket("flights") / "train")
        server.make_bucket("models")
        yield server


@pytest.fixture(scope="module")
def database(outside: str, volume: Path) -> Iterator[Postgres]:
    import adbc_driver_postgresql.dbapi as dbapi

    table = pa.concat_tables(pq.read_table(path) for path in sorted((volume / "flights/train").glob("*")))
    with Postgres(outside) as server:
        with dbapi.connect(server.uri()) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("flights", table.combine_chunks())
            connection.commit()
        yield server


def result_in(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


@pytest.mark.full
@pytest.mark.e2e(seconds=120)
def test_a_job_that_has_no_volume_lives_in_an_object_store(training: Training, store: S3Server) -> None:
    make_secret(training.cluster, "store", store.environment())
    bare = {"volumes": [], "volumeMounts": [], "envFrom": [{"secretRef": {"name": "store"}}]}
    data = {"train": {"parquet": {"url": "s3://flights/train/*.parquet"}}}
    training.submit("far", xgboost=QUICK, data=data, output={"url": "s3://models/far"}, **bare)
    training.submit("near", xgboost=QUICK)
    ended = training.ended("far")
    assert condition(ended, "Complete")["status"] == "True", ended
    assert ended["output"]["modelURL"] == "s3://models/far/model.ubj"
    assert condition(training.ended("near"), "Complete")["status"] == "True"
    kept = store.make_bucket("models") / "far"
    assert (kept / "logs/attempt-1/rank-1.log").stat().st_size
    far, near = (
        json.loads((folder / "result.json").read_text()) for folder in (kept, training.output("near"))
    )
    assert far["metrics"] == near["metrics"]


@pytest.mark.full
@pytest.mark.e2e(seconds=90)
def test_a_store_that_does_not_let_a_job_in_is_told_without_its_secret(
    training: Training, store: S3Server
) -> None:
    make_secret(training.cluster, "wrong", {**store.environment(), "AWS_SECRET_ACCESS_KEY": "not-the-key"})
    data = {"train": {"parquet": {"url": "s3://flights/train/*.parquet"}}}
    training.submit("outsider", nodes=1, xgboost=QUICK, data=data, envFrom=[{"secretRef": {"name": "wrong"}}])
    failed = training.failure("outsider")
    assert failed["reason"] == "DataNotReadable", failed
    assert "s3://flights/train" in failed["message"]
    assert "not-the-key" not in json.dumps(training.get("outsider"))


@pytest.mark.full
@pytest.mark.e2e(seconds=180)
def test_a_query_is_read_once_and_in_parallel(training: Training, database: Postgres) -> None:
    make_secret(training.cluster, "warehouse", {"uri": database.uri()})
    query = {"connectionSecret": "warehouse", "query": "SELECT * FROM flights", "partitionOn": "distance"}
    training.submit("warehouse", xgboost=QUICK, data={"train": {"sql": query}})
    ended = training.ended("warehouse")
    assert condition(ended, "Complete")["status"] == "True", ended
    [(count,)] = database.execute("SELECT count(*) FROM flights")
    ranks = result_in(training.output("warehouse"))["ranks"]
    assert sum(rank["data"]["train"]["rows"] for rank in ranks) == count
    late = {"train": {"sql": {**query, "connectionSecret": "late"}}}
    training.submit("early", nodes=1, xgboost=QUICK, data=late)
    waiting = training.until("early", phase="Queued", reason="SecretMissing")
    assert "Secret late of namespace default" in condition(waiting, "Admitted")["message"]
    make_secret(training.cluster, "late", {"uri": database.uri()})
    assert condition(training.ended("early"), "Complete")["status"] == "True"


@pytest.mark.full
@pytest.mark.e2e(seconds=60)
def test_a_wrong_password_is_told_and_never_shown(training: Training, database: Postgres) -> None:
    make_secret(training.cluster, "stranger", {"uri": database.uri(password="wrong-one")})
    query = {"connectionSecret": "stranger", "query": "SELECT * FROM flights"}
    training.submit("stranger", nodes=1, xgboost=QUICK, data={"train": {"sql": query}})
    failed = training.failure("stranger")
    assert failed["reason"] == "DataNotReadable", failed
    said = json.dumps(training.get("stranger")) + training.cluster.run(
        "logs", "--selector=mlpools.dev/job-name=stranger", "--tail=-1"
    )
    assert "wrong-one" not in said
    assert PASSWORD not in said
