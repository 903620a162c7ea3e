"""What a job left in an object store, as a folder of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlpools_kubectl import fetching
from mlpools_kubectl.cluster import Cluster, Object
from mlpools_kubectl.failures import Failure
from tests.support.manifests import manifest
from tests.support.object_store import ObjectStore

FILES = {"model.ubj": b"m" * 100, "logs/attempt-1/rank-0.log": b"log", "checkpoints/u/1/COMMIT": b"c"}


def job(**changes: Any) -> Object:
    made = manifest("TrainingJob", "delay", {"output": {"url": "s3://bucket/models/delay"}, **changes})
    conditions = [{"type": "Complete", "status": "True"}]
    return {**made, "status": {"conditions": conditions}}


def fetch(folder: Path, *, checkpoints: bool = False) -> None:
    no_cluster: Cluster = None  # type: ignore[assignment]  # a store is read without one
    fetching.fetch(no_cluster, job(), fetching.Wanted(folder, checkpoints, None, 1.0))


@pytest.fixture
def store(object_store: ObjectStore) -> ObjectStore:
    files = {**FILES, "result.json": b"{}"}
    object_store.objects |= {f"bucket/models/delay/{name}": data for name, data in files.items()}
    return object_store


def brought(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("store")
def test_a_store_is_copied_without_its_checkpoints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    fetch(tmp_path / "empty")
    assert brought(tmp_path / "empty") == {"model.ubj", "logs/attempt-1/rank-0.log", "result.json"}
    assert (tmp_path / "empty" / "model.ubj").read_bytes() == FILES["model.ubj"]
    assert "logs/, model.ubj, result.json" in capsys.readouterr().out
    fetch(tmp_path / "deep" / "all", checkpoints=True)
    assert brought(tmp_path / "deep" / "all") == {*FILES, "result.json"}


def test_a_result_that_is_not_whole_leaves_no_folder(tmp_path: Path, store: ObjectStore) -> None:
    del store.objects["bucket/models/delay/result.json"]
    with pytest.raises(Failure, match=r"result\.json, which it writes last, is not at s3://"):
        fetch(tmp_path / "it")
    store.objects.clear()
    with pytest.raises(Failure, match="There is nothing at"):
        fetch(tmp_path / "it")
    assert list(tmp_path.glob("*it*")) == []


@pytest.mark.usefixtures("store")
def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    for folder in (tmp_path, tmp_path / "mine"):
        with pytest.raises(Failure, match="name a new folder"):
            fetch(folder)
    assert (tmp_path / "mine").read_text() == "mine"
