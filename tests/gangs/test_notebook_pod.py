"""A notebook's supervisor over a program that is not Jupyter, in namespaces of its own as in a container."""

from __future__ import annotations

from pathlib import Path

from mlpools.contract.ends import Exit
from tests.support import notebook_pod


def test_what_a_plain_process_does_is_use_and_waiting_is_not(tmp_path: Path) -> None:
    found = notebook_pod.run("tests.support.plain_scenario", tmp_path)
    assert found["attempt"] == 3
    unused, by = found["computes"]
    assert unused < 2
    assert by == "processes that compute"
    assert max(found["runs"]) < 2
    assert found["after"] > 4
    assert found["end"]["exitCode"] == Exit.PREEMPTED


def test_a_program_that_ends_leaves_its_last_words(tmp_path: Path) -> None:
    found = notebook_pod.run("tests.support.failing_scenario", tmp_path)
    assert found["program"]["code"] == found["program"]["exitCode"] == Exit.USER_CODE
    assert found["program"]["message"].endswith("ended with exit code 7; its last lines: no such licence")
    assert found["absent"]["code"] == Exit.INVALID_SPEC
    assert "no such program in the image" in found["absent"]["message"]
    assert found["no_jupyter"]["code"] == Exit.INVALID_SPEC
    assert found["no_jupyter"]["message"].startswith("The image has no JupyterLab: ")
    assert found["silent"] == {"serving": False, "said": "loads keys / …"}
    before, then, end = found["full"]
    assert before == ""
    assert then.startswith("The workspace is nearly full: 0 MiB are left.")
    assert end.startswith(f"{then} The notebook's program ended with exit code 7")
    assert found["git"]["code"] == found["git"]["exitCode"] == Exit.CODE_UNAVAILABLE
    assert found["git"]["message"].startswith("git: http://127.0.0.1:9/team/work does not answer")
    assert found["workspace"]["code"] == Exit.OUTPUT_NOT_WRITABLE
    assert "storage.fsGroup" in found["workspace"]["message"]


def test_from_beside_the_same_is_seen_of_a_program_that_the_image_started(tmp_path: Path) -> None:
    found = notebook_pod.run("tests.support.beside_scenario", tmp_path)
    assert found["attempt"] == 3
    assert not found["before"]
    assert found["gpu_unseen"]
    unused, by = found["computes"]
    assert unused < 2
    assert by == "processes that compute"
    assert not found["gone"]
    assert (found["code"], found["words"]) == (Exit.DONE, False)
