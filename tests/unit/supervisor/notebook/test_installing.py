"""Packages that people install in a notebook: from an index, by the pool's rules, and kept."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlpools.contract.ends import Exit
from mlpools.contract.tasks import Notebook, Packages
from mlpools.contract.wiring import NOTEBOOK_ENV, NOTEBOOK_LIBRARY_ENV
from mlpools.notebook import commands, kept
from mlpools.notebook import packages as restoring
from mlpools.supervisor.notebook.surroundings import Surroundings
from tests.support.package_index import PackageIndex


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with PackageIndex(tmp_path / "index") as index:
        index.wheel("cat_food", "1.0")
        index.wheel("cat", "1.0", needs=["cat-food>=0.5"])
        index.wheel("cat", "2.0", needs=["cat-food>=0.5"])
        index.wheel("dog", "1.0")
        yield index


class Started:
    """Starts of one notebook, each with the workspace of the one before."""

    def __init__(self, folder: Path, index: PackageIndex, patch: pytest.MonkeyPatch) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.rules = Packages(index_url=index.url)
        self._folder, self._starts, self._patch = folder, 0, patch
        self.start()

    def start(self, **image: str) -> int:
        """Start it again, and restore its packages; ``image`` are packages of another image."""
        self._starts += 1
        temporary, packages = (self._folder / f"{name}-{self._starts}" for name in ("tmp", "packages"))
        temporary.mkdir()
        self._patch.setattr(tempfile, "tempdir", str(temporary))
        told = Notebook("team-a", "alice", "u", 1, 8888, 5, 5, packages=self.rules.to_dict())
        environ = {**os.environ, "TMPDIR": str(temporary), NOTEBOOK_ENV: told.to_json()}
        for name, version in image.items():
            info = packages / "lib" / f"{name}-{version}.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        self._patch.syspath_prepend(str(packages / "lib"))
        around = Surroundings(told, self.workspace, str(packages), environ)
        around.settle()
        for name, value in around.of_commands().items():
            self._patch.setenv(name, value)
        restored = restoring.main()
        self.environ, self.library = around.of_program(), around.library
        return restored

    @property
    def installed(self) -> dict[str, str]:
        return kept.versions(self.library)


@pytest.fixture
def notebook(tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Started:
    return Started(tmp_path, index, monkeypatch)


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command, and return what it says."""

    def run(*words: str) -> str:
        capsys.readouterr()
        commands.main(words)
        said = capsys.readouterr()
        return said.out + said.err

    return run


def test_what_is_installed_in_a_terminal_is_there_at_once_and_after_a_restart(
    notebook: Started, index: PackageIndex
) -> None:
    elsewhere = {"UV_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}

    def run(*command: str) -> str:
        environ, place = {**notebook.environ, **elsewhere}, notebook.workspace
        done = subprocess.run(command, env=environ, cwd=place, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "Installed cat 1.0, cat-food 1.0." in run("pip", "install", "-q", "cat==1.0")
    assert run(sys.executable, "-c", "import cat, cat_food; print(cat.version)") == "1.0\n"
    assert run("uv", "--version").startswith("uv ")
    assert notebook.environ["UV_DEFAULT_INDEX"] == notebook.environ["PIP_INDEX_URL"] == index.url
    index.asked.clear()
    assert notebook.start() == 0
    assert run(sys.executable, "-c", "import cat; print(cat.version)") == "1.0\n"
    assert index.asked == []  # the same image: nothing is to be done


def test_as_little_as_possible_changes_until_the_newest_is_asked_for(
    notebook: Started, says: Callable[..., str]
) -> None:
    (notebook.workspace / "mine.txt").write_text("cat==1.0  # not the newest\n\n")
    says("pip", "install", "-r", str(notebook.workspace / "mine.txt"))
    assert says("uv", "pip", "install", "dog").endswith("Installed dog 1.0.\n")
    assert "Nothing to do" in says("pip", "install", "cat")
    assert "Installed cat 2.0." in says("pip", "install", "--upgrade", "cat")
    assert says("pip", "freeze").split() == ["cat==2.0", "cat-food==1.0", "dog==1.0"]


def test_the_pool_decides_about_what_comes_along_too(notebook: Started, says: Callable[..., str]) -> None:
    notebook.rules = replace(notebook.rules, block=("cat-food",))
    notebook.start()
    assert "cat-food, which cat needs: its packages.block has cat-food" in says(
        "pip", "install", "dog", "cat"
    )
    assert notebook.installed == {}
    assert kept.read(notebook.workspace) == kept.Record()


def test_removed_is_removed_with_what_only_it_needed(notebook: Started, says: Callable[..., str]) -> None:
    says("pip", "install", "cat", "dog")
    assert "what other packages need, stays" in says("pip", "uninstall", "-y", "cat-food")
    assert says("pip", "uninstall", "-y", "Cat").endswith("Removed cat, cat-food.\n")
    assert notebook.installed == {"dog": "1.0"}
    assert says("pip", "uninstall", "dog").endswith("Removed dog.\n")
    assert notebook.installed == {}


def test_another_image_gets_its_own_set_from_what_was_asked_for(
    notebook: Started, says: Callable[..., str]
) -> None:
    says("pip", "install", "cat==1.0", "dog")
    before = notebook.library
    assert notebook.start(cat_food="0.7") == 0
    assert notebook.installed == {"cat": "1.0", "dog": "1.0"}  # the image has the food
    assert not before.exists()


def test_what_cannot_be_restored_is_said_and_nothing_of_it_is_forgotten(
    notebook: Started, index: PackageIndex, says: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    says("pip", "install", "cat==1.0", "dog")
    (index.folder / "cat" / "cat-1.0-py3-none-any.whl").unlink()
    assert notebook.start(elephant="3.0") == Exit.PACKAGES_NOT_RESOLVED
    assert "there is no version of cat==1.0" in capsys.readouterr().out
    assert notebook.installed == {}
    kept.set_notice("They are not there.")
    assert "Installed cat 2.0, cat-food 1.0, dog 1.0." in says("pip", "install", "cat")
    assert kept.notice() == ""


def test_an_installation_that_was_killed_is_mended_at_the_next_start(
    notebook: Started, says: Callable[..., str]
) -> None:
    says("pip", "install", "cat==1.0")
    (notebook.library / "cat.py").unlink()
    for file in (notebook.library / "cat-1.0.dist-info").iterdir():
        file.unlink()
    notebook.start()
    assert (notebook.library / "cat.py").exists()


def test_a_module_of_the_image_is_not_hidden(
    notebook: Started, index: PackageIndex, says: Callable[..., str]
) -> None:
    says("pip", "install", "dog")
    index.wheel("mouse", "1.0", module="numpy")
    assert "bring a module numpy, which the image has already" in says("pip", "install", "mouse")
    assert notebook.installed == {"dog": "1.0"}
    assert list(kept.read(notebook.workspace).asked) == ["dog"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install", "--index-url", "https://elsewhere.test", "cat"], "packages come from the pool's index"),
        (["install", "https://elsewhere.test/cat.whl"], "is not a name with versions"),
        (["install", "-r", "absent.txt"], "absent.txt cannot be read"),
        (["install"], "Say which packages"),
        (["install", "numpy==0.0.1"], "what the image has stays"),
    ],
)
def test_what_does_not_go_is_said_in_a_sentence(
    notebook: Started, says: Callable[..., str], words: list[str], said: str
) -> None:
    found = says("pip", *words)
    assert said in found
    assert "ERROR: " in found


def test_outside_a_notebook_it_says_so(says: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NOTEBOOK_LIBRARY_ENV, raising=False)
    assert says("pip", "list") == "ERROR: This works in a notebook only, in its kernels and terminals.\n"
