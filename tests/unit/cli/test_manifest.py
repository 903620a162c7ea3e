"""What is read from a file of manifests, and what a person is told of one that cannot run here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlpools.errors import BadHyperParameter, InvalidSpec, JobError, SecretMissing
from mlpools_cli import manifest
from mlpools_cli.local_job import Given, LocalJob, prepare
from mlpools_cli.manifest import Manifest
from tests.support import manifests

DATA = Path("/home/me/flights")


def local(
    changes: Mapping[str, Any] | None = None,
    shell: Mapping[str, str] | None = None,
    kind: str = "TrainingJob",
    **given: Any,
) -> LocalJob:
    spec = manifests.spec(kind, changes)
    mounts = {"mounts": {"/data": DATA}, **given}
    return prepare(Manifest(kind, "delay", "team-a", spec), Given(**mounts), shell or {})


def write(path: Path, *documents: Any) -> Path:
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_jobs_of_a_file_are_found_among_the_others(tmp_path: Path) -> None:
    job = manifests.manifest("TrainingJob", "a")
    pool = manifests.manifest("ComputePool", "cpu")
    contents = manifest.read(
        write(tmp_path / "all.yaml", pool, job, None, {**job, "metadata": {"name": "b"}})
    )
    assert [it.name for it in contents.jobs] == ["a", "b"]
    assert contents.others == ("ComputePool cpu",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "cannot be read as YAML: .*line 1"),
        ("", "holds no TrainingJob and no BatchInference"),
        ("- 1", "a document that is no manifest"),
        ("kind: TrainingJob\napiVersion: v1", "apiVersion of a TrainingJob is mlpools.dev/v1alpha1"),
        ("kind: TrainingJob\napiVersion: mlpools.dev/v1alpha1", "needs metadata.name"),
        ("kind: TrainingJob\napiVersion: mlpools.dev/v1alpha1\nmetadata: {name: a}", "a has no spec"),
        ("kind: BatchInference\napiVersion: v1", "apiVersion of a BatchInference is mlpools.dev/v1alpha1"),
    ],
)
def test_what_is_no_job_is_said(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSpec, match=words):
        manifest.read(path)


def test_the_task_is_a_cluster_s_with_urls_of_this_machine() -> None:
    task = local({"nodes": 3, "data.eval": {"csv": {"urls": ["/data/a.csv", "s3://b/c.csv"]}}}).task
    assert task.data["train"]["parquet"]["url"] == "file:///home/me/flights/train/*.parquet"
    assert task.data["eval"]["csv"]["urls"] == ["/home/me/flights/a.csv", "s3://b/c.csv"]
    assert task.output == {"url": "file:///home/me/flights/model", "mode": "Error"}
    assert task.checkpoint == {
        "url": "file:///home/me/flights/model/checkpoints",
        "everySeconds": 300,
        "keep": 2,
    }
    assert (task.nodes, task.attempt, task.namespace, task.name) == (3, 1, "team-a", "delay")
    assert task.spec["objective"] == "reg:squarederror"
    assert task.spec["rounds"] == 100


def test_a_batch_inference_s_model_rows_and_output_are_of_this_machine() -> None:
    files = {"url": "file:///data/images", "as": "bytes"}
    changes = {"input": {"files": files}, "output.keep": ["*"], "maxShardFailures": 2}
    task = local(changes, kind="BatchInference").task
    assert (task.framework, task.spec["maxShardFailures"]) == ("inference", 2)
    assert task.spec["model"]["url"] == "file:///home/me/flights/model/model.ubj"
    assert task.data["input"]["files"]["url"] == "file:///home/me/flights/images"
    assert task.output["url"] == "file:///home/me/flights/predictions"
    assert (task.output["keep"], task.checkpoint) == ("all", {})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, r"^model\.url is file:///data/model/model\.ubj, .*--mount /data=FOLDER\.$"),
        ({"model.url": "s3://b/m.ubj"}, r"^input is file:///data/new/.*--mount /data=FOLDER\.$"),
    ],
)
def test_a_batch_inference_s_volume_needs_a_folder(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        local(changes, kind="BatchInference", mounts={})


def test_a_batch_inference_s_database_needs_its_keys(tmp_path: Path) -> None:
    changes = {"input": {"sql": {"connectionSecret": "db", "query": "SELECT 1"}}}
    with pytest.raises(SecretMissing, match=r"^input is in a database .*--keys db=FOLDER\.$"):
        local(changes, kind="BatchInference")
    assert local(changes, kind="BatchInference", keys={"db": tmp_path}).connections == {"input": tmp_path}


def test_a_batch_inference_s_misspelt_field_is_named() -> None:
    with pytest.raises(InvalidSpec, match=r"no field spec\.output\.kepe\. Did you mean keep\?"):
        local({"output.kepe": ["a"]}, kind="BatchInference")


def test_nodes_and_mode_of_the_command_line_win() -> None:
    task = local(nodes=4, mode="Resume").task
    assert (task.nodes, task.output["mode"]) == (4, "Resume")


def test_each_run_is_a_job_of_its_own() -> None:
    assert local().task.uid != local().task.uid


def test_the_longest_mount_counts_and_a_name_that_only_begins_alike_does_not() -> None:
    mounts = {"/data": DATA, "/data/models": Path("/models in here")}
    task = local({"output.url": "file:///data/models/a"}, mounts=mounts).task
    assert task.output["url"] == "file:///models%20in%20here/a"
    other = local({"data.train.parquet.url": "/database/train.parquet"}).task
    assert other.data["train"]["parquet"]["url"] == "/database/train.parquet"


@pytest.mark.parametrize(
    ("changes", "given", "kind", "words"),
    [
        ({}, {"mounts": {}}, InvalidSpec, r"^data\.train is file:///data/.*--mount /data=FOLDER\.$"),
        ({"xgboost.params.max_dept": 3}, {}, BadHyperParameter, "max_dept.*did you mean max_depth"),
        (
            {"xgboost.earlyStoppingRound": 3},
            {},
            InvalidSpec,
            "no field spec.xgboost.earlyStoppingRound. Did you",
        ),
        (
            {"data.train.colunms": ["a"]},
            {},
            InvalidSpec,
            "no field spec.data.train.colunms. Did you mean columns",
        ),
        (
            {"volumeMounts": [{"name": "data", "mountPath": "/data", "readonly": True}]},
            {},
            InvalidSpec,
            r"\[0\]\.readonly",
        ),
        ({"output.url": "/tmp/model"}, {}, InvalidSpec, "must lie on a writable volume"),
        (
            {"data.train": {"sql": {"connectionSecret": "db", "query": "SELECT 1"}}},
            {},
            SecretMissing,
            "--keys db=FOLDER",
        ),
        (
            {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            {},
            SecretMissing,
            "KEY comes from key k of Secret s .*export KEY first, or give --keys s=FOLDER",
        ),
    ],
)
def test_what_cannot_run_here_is_one_sentence(
    changes: dict[str, Any], given: dict[str, Any], kind: type[JobError], words: str
) -> None:
    with pytest.raises(kind, match=words) as caught:
        local(changes, **given)
    assert "\n" not in str(caught.value)


def test_the_same_rules_as_in_a_cluster_hold_for_the_nodes_of_the_command_line() -> None:
    changes = {"xgboost.evalMetrics": ["cox-nloglik"]}
    assert local(changes, nodes=1)
    with pytest.raises(BadHyperParameter, match="cox-nloglik"):
        local(changes, nodes=2)


def test_variables_are_the_manifest_s_and_for_secrets_the_shell_s() -> None:
    env = [
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A)-$(HOME)-$(NOBODY)-$$(A)"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "MAY", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ]
    job = local({"env": env, "envFrom": [{"secretRef": {"name": "store"}}]}, {"HOME": "/me", "KEY": "secret"})
    expected = {"A": "one", "B": "one-/me-$(NOBODY)-$(A)", "KEY": "secret", "NAME": "delay"}
    assert job.variables == expected
    assert job.notes == ["variables that the cluster takes from store are those of this shell"]


def test_what_is_different_here_is_said() -> None:
    schedule = {"cron": "0 3 * * *"}
    job = local({"runtime": {"packages": ["no-such-thing==1.0", "click==0.1"]}, "schedule": schedule})
    first, second, third = job.notes
    assert first == "the job installs no-such-thing==1.0, and this environment has none of it"
    assert second.startswith("the job installs click==0.1, and this environment has 8.")
    assert third == "spec.schedule is ignored: it runs once, now"
    assert job.task.packages == {}


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "every night"}, r"^spec\.schedule\.cron: "),
        (
            {"cron": "0 3 * * *", "timezone": "UTC"},
            r"no field spec\.schedule\.timezone\. Did you mean timeZone\?",
        ),
    ],
)
def test_what_is_ignored_here_is_checked_all_the_same(schedule: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        local({"schedule": schedule})


def test_secrets_and_config_maps_may_be_folders(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0k3n")
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "token"}}}]
    source = {"prefix": "APP_", "configMapRef": {"name": "s"}}
    job = local({"env": env, "envFrom": [source]}, keys={"s": tmp_path})
    assert job.variables == {"APP_token": "t0k3n", "TOKEN": "t0k3n"}
    assert job.notes == []


def test_a_config_map_of_the_same_file_is_read(tmp_path: Path) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}}
    keys = {"data": {"train.py": "print(1)"}, "binaryData": {"model.bin": "AAE="}}
    contents = manifest.read(
        write(tmp_path / "all.yaml", {**config, **keys}, manifests.manifest("TrainingJob", "a"))
    )
    assert contents.config_maps == {"code": {"train.py": b"print(1)", "model.bin": b"\0\1"}}
    assert contents.others == ()


PROGRAM = {
    "xgboost": manifests.ABSENT,
    "pytorch": {"file": "/data/train.py", "args": ["--rows", "/data/rows", "--url=/data/x", "5"]},
}


def test_the_paths_that_a_program_is_given_are_of_this_machine() -> None:
    section = local(PROGRAM).task.spec
    assert section["file"] == "/home/me/flights/train.py"
    assert section["args"] == ["--rows", "/home/me/flights/rows", "--url=/data/x", "5"]


def test_code_of_a_config_map_is_a_folder(tmp_path: Path) -> None:
    section = {"file": "train.py", "code": {"configMap": "program"}}
    changes = {**PROGRAM, "pytorch": section}
    with pytest.raises(SecretMissing, match=r"ConfigMap program .*same file.*--keys program=FOLDER"):
        local(changes)
    job = local(changes, keys={"program": tmp_path})
    assert job.code == tmp_path
    assert job.task.spec["file"] == "train.py"
    archive = {"url": "file:///data/code.zip", "sha256": "0" * 64}
    task = local({**changes, "pytorch": {**section, "code": archive}}).task
    assert task.code["url"] == "file:///home/me/flights/code.zip"
