"""A job whose data, checkpoints, result and logs are objects of a store: as on a volume, to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.errors import DataNotReadable, OutputExists, OutputNotWritable, Preempted
from mlpools.gang import Gang
from mlpools.runtime import keep
from mlpools.runtime.launch import work
from mlpools.supervisor.final import save_log
from mlpools.train.job import Job
from tests.support.flights import spec, write_flights
from tests.support.object_store import Fault, ObjectStore
from tests.support.one_rank import StopAt
from tests.support.pods import task

OUT = "s3://bucket/models/delay"


@pytest.fixture
def data(object_store: ObjectStore, tmp_path: Path) -> dict[str, object]:
    write_flights(tmp_path, 1_000)
    for path in tmp_path.rglob("*.parquet"):
        object_store.objects[f"bucket/flights/{path.relative_to(tmp_path)}"] = path.read_bytes()
    train, held_out = (f"s3://bucket/flights/{name}" for name in ("train/*.parquet", "eval.parquet"))
    return {"train": {"parquet": {"url": train}}, "eval": {"parquet": {"url": held_out}}}


def run(data: object, stop_at: int = 0, **changes: object) -> int:
    reporter = StopAt(stop_at)
    where = {"url": f"{OUT}/checkpoints", "everyRounds": 5, "keep": 2}
    given = {
        "spec": spec(),
        "data": data,
        "checkpoint": where,
        "output": {"url": OUT, "mode": "Error"},
        **changes,
    }
    return work(Job(task(Path("/unused"), **given), Gang(), reporter, reporter.stop)).step


def kept(store: ObjectStore) -> set[str]:
    return {name.removeprefix("bucket/models/delay/") for name in store.objects if "models/" in name}


def test_a_job_leaves_its_result_and_its_checkpoints(object_store: ObjectStore, data: object) -> None:
    assert run(data) == 20
    steps = {
        f"checkpoints/uid-1/step-{n:09d}/{part}"
        for n in (15, 20)
        for part in ("COMMIT", "model", "state.json")
    }
    result = {"model.ubj", "metrics.jsonl", "importance.csv", "learning_curve.png", "result.json"}
    assert kept(object_store) == {"owner.json", *result, "logs/attempt-1/metrics.jsonl", *steps}
    document = json.loads(object_store.objects["bucket/models/delay/result.json"])
    assert document["job"]["uid"] == "uid-1"
    with pytest.raises(OutputExists, match="holds the result of"):
        run(data, uid="uid-2")


def test_a_stopped_job_goes_on_from_its_checkpoint_to_the_same_model(
    object_store: ObjectStore, data: object
) -> None:
    run(data)
    whole = object_store.objects["bucket/models/delay/model.ubj"]
    for name in [name for name in object_store.objects if "models/" in name]:
        del object_store.objects[name]
    with pytest.raises(Preempted, match="after round 12"):
        run(data, stop_at=12)
    assert "model.ubj" not in kept(object_store)
    assert run(data, attempt=2) == 20
    assert object_store.objects["bucket/models/delay/model.ubj"] == whole


def test_of_two_jobs_that_claim_one_place_at_once_one_is_refused(
    object_store: ObjectStore, data: object
) -> None:
    def rival() -> None:
        owner = {"uid": "uid-2", "namespace": "team-b", "name": "rival"}
        object_store.objects["bucket/models/delay/owner.json"] = json.dumps(owner).encode()

    object_store.faults.append(Fault(method="PUT", before=rival))
    with pytest.raises(OutputExists, match="the result of team-b/rival already"):
        run(data)


def test_a_place_that_refuses_is_said_before_data_is_read(
    object_store: ObjectStore, data: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.faults.append(Fault(method="GET", status=403, code="AccessDenied", times=99))
    with pytest.raises(OutputNotWritable, match=r"^s3://bucket/models/delay/owner\.json cannot") as caught:
        run(data)
    assert caught.value.code == Exit.OUTPUT_NOT_WRITABLE
    assert "top-secret" not in str(caught.value)
    assert not [it for it in object_store.asked if "flights" in it.path]


@pytest.mark.parametrize("part", ["COMMIT", "model", "state.json"])
def test_a_checkpoint_that_may_not_be_read_is_no_missing_one(
    object_store: ObjectStore, data: object, part: str
) -> None:
    with pytest.raises(Preempted, match="after round 12"):
        run(data, stop_at=12)
    object_store.faults.append(Fault("GET", f"step-000000012/{part}", times=99, status=403))
    with pytest.raises(DataNotReadable, match=rf"step-000000012/{part} cannot be read: the store refuses"):
        run(data, attempt=2)
    object_store.faults.clear()
    assert run(data, attempt=2) == 20


def test_a_result_that_may_not_be_read_is_no_missing_one(object_store: ObjectStore, data: object) -> None:
    run(data)
    before = dict(object_store.objects)
    object_store.faults.append(Fault("GET", "/result.json", times=99, status=403))
    with pytest.raises(OutputNotWritable, match=r"result\.json cannot be read: the store refuses"):
        run(data, attempt=2)
    assert object_store.objects == before


def test_a_log_is_kept_by_the_runtime(object_store: ObjectStore, capfd: pytest.CaptureFixture[str]) -> None:
    save_log(b"the last words\n", OUT, 2, 1)
    assert object_store.objects["bucket/models/delay/logs/attempt-2/rank-1.log"] == b"the last words\n"
    save_log(b"the last words\n", "s3://no-such-bucket/a", 2, 1)
    said = capfd.readouterr()
    assert "the log could not be kept: s3://no-such-bucket/a/logs/attempt-2/rank-1.log" in said.out + said.err


def test_what_cannot_be_kept_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert keep.main(["ftp://place/a"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
