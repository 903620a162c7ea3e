"""What is in the output after a commit, and what is not any more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.tasks import Task
from mlpools.errors import OutputExists, OutputNotWritable
from mlpools.runtime.outputs import Outputs
from mlpools.train.history import keep
from tests.support.object_store import Fault, ObjectStore
from tests.support.pods import task

OUT = "s3://bucket/models/delay"


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def at(url: str, mode: str = "Error", **changes: Any) -> Task:
    return task(Path("/unused"), **{"output": {"url": url, "mode": mode}, **changes})


def leave(url: str, files: dict[str, bytes | Path], mode: str = "Error", uid: str = "uid-1") -> None:
    outputs = Outputs(at(url, mode, uid=uid))
    assert outputs.claim() is None
    outputs.commit(files, {"job": {"uid": uid}})


def a_model_folder(folder: Path) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "config.json").write_bytes(b"{}")
    (folder / "parts" / "0.bin").write_bytes(b"0" * 100)
    return folder


def test_a_file_and_a_folder_are_copied_under_their_names(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    weights.write_bytes(b"w")
    leave(str(tmp_path / "out"), {"model": a_model_folder(tmp_path / "made"), "weights.pt": weights})
    parts = {"model/config.json", "model/parts/0.bin"}
    assert names(tmp_path / "out") == {*parts, "weights.pt", "owner.json", "result.json"}
    assert (tmp_path / "out/model/parts/0.bin").read_bytes() == b"0" * 100


@pytest.mark.parametrize("mode", ["Overwrite", "Resume"])
def test_a_new_result_takes_the_place_of_all_of_the_old_one(tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out"
    old = dict.fromkeys(("model.ubj", "metrics.jsonl", "learning_curve.png", "importance.csv"), b"old")
    leave(str(out), old)
    (out / "notes.txt").write_text("not ours")
    leave(str(out), {"other.bin": b"new"}, mode, "uid-2")
    assert names(out) == {"other.bin", "owner.json", "result.json", "notes.txt"}


def test_the_same_in_a_store(object_store: ObjectStore, tmp_path: Path) -> None:
    leave(OUT, {"model.ubj": b"old", "importance.csv": b"old"})
    leave(OUT, {"model": a_model_folder(tmp_path / "made")}, "Overwrite", "uid-2")
    kept = {name.removeprefix("bucket/models/delay/") for name in object_store.objects}
    assert kept == {"model/config.json", "model/parts/0.bin", "owner.json", "result.json"}


def test_a_result_is_not_committed_where_its_owner_cannot_be_read(object_store: ObjectStore) -> None:
    outputs = Outputs(at(OUT))
    outputs.claim()
    object_store.faults.append(Fault("GET", "/owner.json", times=99, status=403))
    with pytest.raises(OutputNotWritable, match=r"owner\.json cannot be read: the store refuses"):
        outputs.commit({"model.ubj": b"new"}, {"job": {"uid": "uid-1"}})
    assert "bucket/models/delay/model.ubj" not in object_store.objects


def test_the_files_of_any_framework_count_as_a_result(tmp_path: Path) -> None:
    (tmp_path / "importance.csv").write_text("precious")
    with pytest.raises(OutputExists, match=r"holds a importance\.csv"):
        Outputs(at(str(tmp_path))).claim()


def test_the_status_names_only_what_was_written(tmp_path: Path) -> None:
    outputs = Outputs(at(str(tmp_path)))
    always = {"resultURL", "logsURL", "checkpointURL"}
    assert set(outputs.urls(["model.ubj", "metrics.jsonl"])) == {*always, "modelURL", "metricsURL"}
    assert set(outputs.urls(["notes.txt"])) == always


def test_the_history_so_far_lies_beside_the_logs(tmp_path: Path) -> None:
    rows = [{"step": 1, "rmse": 2.0}, {"step": 2, "rmse": float("nan")}]
    keep(at(str(tmp_path), attempt=3), rows)
    kept = (tmp_path / "logs/attempt-3/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == [{"step": 1, "rmse": 2.0}, {"step": 2, "rmse": None}]


def test_a_history_that_cannot_be_kept_ends_nothing(
    object_store: ObjectStore, capsys: pytest.CaptureFixture[str]
) -> None:
    object_store.faults.append(Fault(method="PUT", status=403, code="AccessDenied", times=99))
    keep(at(OUT), [{"step": 1, "rmse": 2.0}])
    assert "the metrics so far could not be kept: s3://bucket/models/delay/logs" in capsys.readouterr().out
