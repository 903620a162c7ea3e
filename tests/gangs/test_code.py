"""Real supervisors that fetch a job's own code before their workers start."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Code
from mlpools.contract.wiring import CODE_TREE
from tests.support.archives import served, tar
from tests.support.pods import Pods, task, wait_for
from tests.support.web import Web

#: A worker that says what it finds where its code should be.
WORKER = """
import json, os, pathlib, time
while not pathlib.Path(os.environ["WAIT_FOR"]).exists(): time.sleep(0.02)
tree = pathlib.Path(os.environ["MLPOOLS_CODE"], "tree")
found = {str(it.relative_to(tree)): it.read_text() for it in sorted(tree.rglob("*")) if it.is_file()}
final = {"code": 0, "rank": int(os.environ["RANK"]), "outputs": {"found": json.dumps(found)}}
os.write(int(os.environ["MLPOOLS_REPORT_FD"]), json.dumps({"final": final}).encode() + b"\\n")
"""
PASSWORD = "s3cret-9f2c"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "web") as web:
        yield web


class Gang:
    """Pods that fetch code; each has a folder of its own."""

    def __init__(
        self, folder: Path, code: Code, nodes: int = 1, files: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        for rank in range(nodes):
            self.mount(rank).mkdir()
            for name, text in (files or {}).items():
                (self.mount(rank) / name).write_text(text)
        worker = folder / "worker.py"
        worker.write_text(WORKER)
        self.pods = Pods(
            task(folder / "out", nodes=nodes, code=code.to_dict()),
            folder / "pods",
            [sys.executable, str(worker)],
            of_rank={
                rank: {
                    "MLPOOLS_CODE": str(self.scratch(rank)),
                    "MLPOOLS_CODE_MOUNT": str(self.mount(rank)),
                    "WAIT_FOR": str(self.scratch(nodes - 1) / CODE_TREE),  # as for a framework's rendezvous
                }
                for rank in range(nodes)
            },
        )

    def mount(self, rank: int) -> Path:
        return self.folder / f"mount-{rank}"

    def scratch(self, rank: int) -> Path:
        return self.folder / f"scratch-{rank}"

    def run(self) -> list[Final]:
        with self.pods as pods:
            finals = pods.wait()
        self.output = "".join(pod.output() for pod in self.pods.pods)
        return finals


def found(final: Final) -> dict[str, Any]:
    assert final.code == Exit.DONE, final.message
    result: dict[str, Any] = json.loads(final.outputs["found"])
    return result


def test_workers_find_what_an_archive_holds(tmp_path: Path, web: Web) -> None:
    gang = Gang(tmp_path, served(web, tar({"train.py": "print(1)\n"})))
    [final] = gang.run()
    assert found(final) == {"train.py": "print(1)\n"}
    assert Phase.CODE.value in final.seconds
    assert {path.name for path in gang.scratch(0).iterdir()} == {CODE_TREE}


def test_no_worker_starts_without_its_code(tmp_path: Path, web: Web) -> None:
    [final] = Gang(tmp_path, served(web, b"just text")).run()
    assert final.code == Exit.CODE_NOT_READABLE
    assert "is neither a tar archive nor a zip archive" in final.message


def test_a_config_map_is_copied_on_every_rank(tmp_path: Path) -> None:
    files = {"train.py": "print(1)\n", "lib.py": "x = 1\n"}
    gang = Gang(tmp_path, Code(config_map="mine"), 2, files)
    assert [found(final) for final in gang.run()] == [files, files]


def test_a_rank_waits_until_it_has_the_config_map_that_rank_0_has(tmp_path: Path) -> None:
    """It changed while the pods started: all ranks run one version."""
    gang = Gang(tmp_path, Code(config_map="mine"), 2, {"train.py": "new"})
    (gang.mount(1) / "train.py").write_text("old")
    with gang.pods as pods:
        wait_for(lambda: (gang.scratch(1) / "work" / "copy" / "train.py").exists(), what="the first copy")
        wait_for(lambda: (gang.scratch(0) / CODE_TREE).exists(), what="rank 0's code")
        (gang.mount(1) / "train.py").write_text("new")
        finals = pods.wait()
    assert [found(final) for final in finals] == [{"train.py": "new"}] * 2


def test_a_branch_means_one_commit_for_all_ranks(tmp_path: Path, web: Web) -> None:
    """It moves after rank 0 looked: the other rank takes the same commit."""
    repository = web.repository("team/code")
    repository.commit({"train.py": "first"})
    gang = Gang(tmp_path, Code(git_url=repository.url, revision="main"), 2)
    gang.pods.held = frozenset({1})
    with gang.pods as pods:
        wait_for(lambda: (gang.scratch(0) / "lock.json").exists(), what="what rank 0 found")
        repository.commit({"train.py": "second"})
        pods.release({1})
        finals = pods.wait()
    assert [found(final) for final in finals] == [{"train.py": "first"}] * 2


def test_a_password_is_used_and_is_nowhere_to_be_read(tmp_path: Path) -> None:
    with Web(tmp_path / "web", "ada", PASSWORD) as web:
        repository = web.repository("code")
        repository.commit({"train.py": "x"})
        code = Code(git_url=repository.url, revision="main", secret="login")
        [final] = Gang(tmp_path, code, files={"username": "ada\n", "password": PASSWORD + "\n"}).run()
    assert found(final) == {"train.py": "x"}
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "mount-0" not in path.parts]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]
