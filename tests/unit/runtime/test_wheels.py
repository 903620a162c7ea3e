"""Wheels in the pool's cache: used again, never believed, never needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlpools.contract import CACHE_BYTES_ENV, CACHE_ENV, Packages
from mlpools.errors import PackageIndexUnavailable
from mlpools.runtime.index import Index
from mlpools.runtime.pinned import Pinned
from tests.support.package_index import PackageIndex


class Pods:
    """Pods of one pool, one after the other or together.

    Attributes:
        cache: of the pool.
    """

    def __init__(self, folder: Path, index: PackageIndex) -> None:
        self.cache = folder / "cache"
        self._folder, self._index, self._numbers = folder, index, itertools.count()

    def one(self, *, cached: bool = True) -> tuple[Index, Path]:
        """Return the index as a new pod sees it, and the pod's folder."""
        folder = self._folder / f"pod-{next(self._numbers)}"
        folder.mkdir()
        packages = Packages(wanted=["cat"], index_url=self._index.url, cached=cached)
        return Index(packages, "team", folder, folder), folder / "lib"

    def resolve(self) -> list[Pinned]:
        return self.one()[0].resolve(["cat"], {})

    def install(self, pinned: list[Pinned], *, cached: bool = True) -> set[str]:
        """Install in a new pod and return the modules that it has then."""
        index, library = self.one(cached=cached)
        index.install(pinned, library)
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
    pinned = pods.resolve()
    assert pods.install(pinned) == BOTH
    assert {path.name for path in pods.kept} == {package.sha256 for package in pinned}
    index.broken = True
    assert pods.install(pinned) == BOTH


def test_a_cache_that_goes_with_its_pod_is_not_filled(pods: Pods, index: PackageIndex) -> None:
    pinned = pods.resolve()
    assert pods.install(pinned, cached=False) == BOTH
    assert not pods.kept
    index.broken = True
    with pytest.raises(PackageIndexUnavailable):
        pods.install(pinned, cached=False)


@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda content: b"X" + content[1:]])
def test_a_damaged_wheel_is_not_installed_but_downloaded_again(
    pods: Pods, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = pods.resolve()
    pods.install(pinned)
    path = pods.cache / "wheels" / pinned[0].sha256
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert pods.install(pinned) == BOTH
    assert path.read_bytes() == whole
    assert f"{pinned[0].file} is damaged in the pool's cache" in capsys.readouterr().out


def test_a_cache_without_room_is_no_obstacle(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = pods.resolve()
    monkeypatch.setenv(CACHE_BYTES_ENV, "10")
    assert pods.install(pinned) == BOTH
    assert not pods.kept


def test_pods_that_start_together_share_what_they_download(pods: Pods, index: PackageIndex) -> None:
    pinned = pods.resolve()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: pods.install(pinned), range(3))) == [BOTH] * 3
    assert {path.name for path in pods.kept} == {package.sha256 for package in pinned}, "nothing half-written"
    index.broken = True
    assert pods.install(pinned) == BOTH
