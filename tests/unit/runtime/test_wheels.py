"""Wheels in the pool's cache: used again, never believed, never needed."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import CACHE_BYTES_ENV, CACHE_ENV
from mlpools.runtime.index import Index
from mlpools.runtime.pinned import Pinned, Wheel
from tests.support.package_index import PackageIndex

#: What rank 0 resolved: the packages, and their files.
Resolved = tuple[list[Pinned], list[Wheel]]


class Pods:
    """Pods of one pool, one after the other or together.

    Attributes:
        cache: of the pool.
    """

    def __init__(self, folder: Path, index: PackageIndex) -> None:
        self.cache = folder / "cache"
        self._folder, self._index, self._numbers = folder, index, itertools.count()

    def one(self) -> tuple[Index, Path]:
        """Return the index as a new pod sees it, and the pod's folder."""
        folder = self._folder / f"pod-{next(self._numbers)}"
        folder.mkdir()
        return Index(
            Packages(wanted=["cat"], index_url=self._index.url), "team", folder, folder
        ), folder / "lib"

    def resolve(self) -> Resolved:
        index, _ = self.one()
        packages = index.resolve(["cat"])
        return packages, index.wheels(packages)

    def install(self, resolved: Resolved) -> set[str]:
        """Install in a new pod and return the modules that it has then."""
        index, library = self.one()
        index.install(*resolved, library)
        return {path.name for path in library.glob("*.py")}

    @property
    def kept(self) -> list[Path]:
        return [path for path in (self.cache / "wheels").glob("*") if path.name != ".lock"]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with PackageIndex(tmp_path / "index") as index:
        index.wheel("cat_food", "1.0")
        index.wheel("cat", "1.0", needs=["cat-food"])
        yield index


@pytest.fixture
def pods(tmp_path: Path, index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> Pods:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    return Pods(tmp_path, index)


BOTH = {"cat.py", "cat_food.py"}


def test_a_second_pod_needs_no_index(pods: Pods, index: PackageIndex) -> None:
    resolved = pods.resolve()
    assert pods.install(resolved) == BOTH
    assert {path.name for path in pods.kept} == {wheel.sha256 for wheel in resolved[1]}
    index.asked.clear()
    assert pods.install(resolved) == BOTH
    assert index.asked == []


def test_a_cache_that_goes_with_its_pod_is_not_filled(pods: Pods, index: PackageIndex) -> None:
    packages, _ = pods.resolve()
    assert pods.install((packages, [])) == BOTH
    assert not pods.kept
    index.asked.clear()
    assert pods.install((packages, [])) == BOTH
    assert index.asked


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"X" + content[1:]])
def test_a_damaged_wheel_is_not_installed_but_downloaded_again(
    pods: Pods, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = pods.resolve()
    pods.install(resolved)
    wheel = resolved[1][0]
    path = pods.cache / "wheels" / wheel.sha256
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert pods.install(resolved) == BOTH
    assert path.read_bytes() == whole
    assert f"{wheel.file} is damaged in the pool's cache" in capsys.readouterr().out


def test_a_cache_without_room_is_no_obstacle(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = pods.resolve()
    monkeypatch.setenv(CACHE_BYTES_ENV, "10")
    assert pods.install(resolved) == BOTH
    assert not pods.kept


def test_what_cannot_be_kept_is_installed_from_the_index(
    pods: Pods, index: PackageIndex, capsys: pytest.CaptureFixture[str]
) -> None:
    packages, (first, second) = pods.resolve()
    absent = dataclasses.replace(first, url=f"{index.url}/cat/gone.whl")
    other = dataclasses.replace(second, sha256="0" * 64)
    assert pods.install((packages, [absent, other])) == BOTH
    assert not pods.kept
    said = capsys.readouterr().out
    assert f"{first.file} is not kept in the pool's cache: HTTP Error 404" in said
    assert f"{second.file} is not kept in the pool's cache: the index has another file" in said


def test_pods_that_start_together_share_what_they_download(pods: Pods, index: PackageIndex) -> None:
    resolved = pods.resolve()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: pods.install(resolved), range(3))) == [BOTH] * 3
    names = {wheel.sha256 for wheel in resolved[1]}
    assert {path.name for path in pods.kept} == names, "nothing half-written"
    index.asked.clear()
    assert pods.install(resolved) == BOTH
    assert index.asked == []
