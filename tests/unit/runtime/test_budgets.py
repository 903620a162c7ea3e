"""Memory and disk as the container has them, not as the machine does."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlpools import budgets
from mlpools.contract.wiring import CACHE_BYTES_ENV, CACHE_ENV, EPHEMERAL_BYTES_ENV, SHARED_BY_ENV

GB = 1 << 30


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    usage = SimpleNamespace(free=100 * GB, used=GB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    return usage


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_memory_is_the_limit_less_what_lies_in_shm(free: SimpleNamespace, tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f"{9 * GB}\n")
    assert budgets.memory(root=tmp_path) == 8 * GB
    assert budgets.memory(4, root=tmp_path) == 2 * GB
    assert budgets.memory(2, root=tmp_path, environ={SHARED_BY_ENV: "4"}) == GB
    free.used = 10 * GB
    assert budgets.memory(root=tmp_path) == 0


@pytest.mark.parametrize("text", ["", "max", str(1 << 62)])
def test_without_a_limit_it_is_a_share_of_the_machine(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    machine = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    assert 0.4 * machine < budgets.memory(root=tmp_path) <= 0.51 * machine


def test_disk_is_the_least_of_all_bounds(free: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "files"  # not there yet
    assert budgets.disk(folder, environ={}) == 100 * GB
    assert budgets.disk(folder, held=GB, environ={}) == 101 * GB
    pool = {CACHE_ENV: str(tmp_path / "cache"), CACHE_BYTES_ENV: str(10 * GB)}
    assert budgets.disk(folder, environ=pool) == 10 * GB
    assert budgets.disk(tmp_path / "elsewhere", environ=pool) == 100 * GB
    assert budgets.disk(folder, environ={**pool, EPHEMERAL_BYTES_ENV: str(5 * GB)}) == 4 * GB
    free.free = GB
    assert budgets.disk(folder, held=GB, environ=pool) == 2 * GB


def test_a_volume_of_its_own_is_not_under_the_limit_of_local_disk(
    free: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc")
    assert budgets.disk(tmp_path, environ={EPHEMERAL_BYTES_ENV: str(GB)}) == 100 * GB


def test_the_cache_folder(tmp_path: Path) -> None:
    assert budgets.cache_folder({CACHE_ENV: "/cache"}) == Path("/cache")
    assert budgets.cache_folder({}).name.startswith("mlpools-cache-")
