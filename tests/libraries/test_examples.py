"""The examples' jobs that need a large library run, on this machine and on little data."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.examples import EXAMPLES
from tests.support.local_runs import run_example, run_manifest
from tests.support.manifests import ABSENT, manifest


@pytest.mark.parametrize("name", [name for name, it in EXAMPLES.items() if it.needs])
def test_the_job_runs(name: str, tmp_path: Path) -> None:
    run_example(name, tmp_path)


PROGRAM = """
from pathlib import Path
from mlpools.train.pytorch import get_context
context = get_context()
if context.get_rank() == 0:
    words = Path("words.txt").read_text()  # beside the program, in its working folder
    Path(context.get_model_dir(), "said.txt").write_text(f"{words} of {context.get_world_size()}")
"""


def test_a_program_in_a_config_map_of_the_same_file_runs_on_two_nodes(tmp_path: Path) -> None:
    keys = {"train.py": PROGRAM, "words.txt": "one"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "program"}, "data": keys}
    section = {"file": "train.py", "code": {"configMap": "program"}}
    changes = {"xgboost": ABSENT, "data": ABSENT, "pytorch": section, "nodes": 2}
    job = manifest("TrainingJob", "said", changes)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all([config, job]))
    run_manifest(tmp_path / "job.yaml", tmp_path)
    assert (tmp_path / "model/model/said.txt").read_text() == "one of 2"
