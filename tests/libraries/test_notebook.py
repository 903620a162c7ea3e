"""A real JupyterLab under its supervisor: who gets in, and what counts as use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit
from tests.support import notebook_pod


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("notebook")
    return notebook_pod.run("tests.support.jupyter_scenario", folder, seconds=280)


def test_only_who_has_the_token_gets_in_and_only_from_its_own_pages(found: dict[str, Any]) -> None:
    doors = found["doors"]
    assert (doors["nobody"], doors["wrong"], doors["empty"]) == (403, 403, 403)
    assert (doors["login"], doors["cookie"]) == (200, 200)
    assert doors["no_xsrf"] == 403
    assert found["form"] == {notebook_pod.TOKEN: 200, "wrong": 403, "": 403}
    assert (doors["own_origin"], doors["foreign_origin"]) == (101, 403)


def test_an_open_tab_that_polls_and_pings_is_no_use(found: dict[str, Any]) -> None:
    assert found["tab"]["unused"] > 6


def test_a_cell_that_runs_is_use_though_the_browser_is_closed_and_nothing_computes(
    found: dict[str, Any],
) -> None:
    assert found["cell"]["most_while_busy"] < 2
    assert found["cell"]["after"] > 6


def test_a_terminal_with_a_program_is_use_and_one_without_is_not(found: dict[str, Any]) -> None:
    assert found["terminal"]["most_while_running"] < 2
    assert found["terminal"]["after"] > 5


def test_a_terminal_begins_in_the_workspace_with_the_notebook_s_own_commands(found: dict[str, Any]) -> None:
    assert found["terminal"]["pip"].endswith("/mlpools-commands/pip")


def test_editing_a_document_is_use(found: dict[str, Any]) -> None:
    assert found["edit"]["untouched"] < 2


def test_another_token_holds_without_a_restart_and_none_opens_nothing(found: dict[str, Any]) -> None:
    tokens = found["tokens"]
    assert (tokens["old"], tokens["new"], tokens["third"]) == (403, 200, 200)
    assert (tokens["gone"], tokens["empty"]) == (403, 403)
    assert tokens["logged_in"] == 200


def test_it_ends_when_it_is_told_to(found: dict[str, Any]) -> None:
    assert found["end"]["exitCode"] == found["end"]["code"] == Exit.PREEMPTED


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("ingress")
    return notebook_pod.run("tests.support.jupyter_ingress_scenario", folder, seconds=280)


def test_behind_an_ingress_it_is_at_the_root_of_its_own_host(outside: dict[str, Any]) -> None:
    assert (outside["nobody"], outside["login"]) == (403, 200)
    assert outside["landed"]
    assert outside["base"]
    assert outside["secure"]


def test_behind_an_ingress_other_pages_can_do_nothing_in_it(outside: dict[str, Any]) -> None:
    assert (outside["no_xsrf"], outside["kernel"]) == (403, 201)
    assert outside["sockets"] == {"own": 101, "foreign": 403, "neighbour": 403}


def test_behind_an_ingress_output_comes_while_the_cell_runs(outside: dict[str, Any]) -> None:
    assert outside["output"] == ["first", "second"]


#: Prints which formats of texts Jupyter's schemas can be checked for, and what is loaded that it never uses.
LOADED = """
import json, sys
before = len(sys.argv) > 1
if not before:
    from mlpools.notebook import lab
    lab.load()
import jupyterlab.labapp, jsonschema
unused = {"rfc3987_syntax", "lark", "rich", "click"} & sys.modules.keys()
print(json.dumps([sorted(jsonschema.Draft7Validator.FORMAT_CHECKER.checkers), sorted(unused)]))
"""


def loaded(*arguments: str) -> tuple[set[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True
    )
    formats, unused = json.loads(done.stdout)
    return set(formats), unused


def test_what_it_loads_for_nothing_at_each_start_stays_away_and_nothing_else_does() -> None:
    ours, unused = loaded()
    by_hand, _ = loaded("by hand")
    assert unused == []
    assert by_hand - ours == {"iri", "iri-reference"}
