"""Which stages there are, and where their programs come from."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import stages
from tools.record import Row

ROOT = Path(__file__).parents[3]


def test_each_folder_of_tests_has_one_stage() -> None:
    known = stages.stages(full=True)
    folders = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/conftest.py")} | {
        "tests/unit",
        "tests/gangs",
    }
    run = [word for stage in known for command in stage.commands for word in command if word in folders]
    assert sorted(run) == sorted(folders)


@pytest.mark.parametrize("arguments", [[], ["test"], ["test-full"], ["libraries", "lint"]])
def test_large_libraries_are_tested_on_request_only(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[str] = []
    recorded: list[Row] = []

    def run(stage: stages.Stage, outcome: stages.Outcome) -> bool:
        ran.append(stage.name)
        outcome.seconds[stage.name] = 1.0
        return True

    monkeypatch.setattr(stages, "run", run)
    monkeypatch.setattr(stages, "LOGS", tmp_path)
    monkeypatch.setattr(stages, "can_run_cluster", lambda: None)
    monkeypatch.setattr(stages, "record", lambda _, rows: recorded.extend(rows))
    monkeypatch.delenv("MLPOOLS_REQUIRE", raising=False)
    assert stages.main(arguments) == 0
    assert ("libraries" in ran) == ("libraries" in arguments or "test-full" in arguments)
    assert ("e2e" in ran) == ("libraries" not in arguments)
    assert ("stage libraries" in [row.what for row in recorded]) == ("test-full" in arguments)


def test_programs_are_the_virtual_environment_s_before_the_system_s(tmp_path: Path) -> None:
    assert Path(stages.find_program("pytest")).parent == Path(sys.executable).parent
    assert Path(stages.find_program("sh")).is_absolute()
    program = tmp_path / "bin" / "pytest"
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert stages.find_program(str(program)) == str(program)
    assert stages.find_program("nothing-of-this-name") == "nothing-of-this-name"
