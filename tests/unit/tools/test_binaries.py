"""The cache's keys, and which Go is taken."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import binaries
from tools.binaries import Build
from tools.steps import ToolError

GO = "go1.26.8 linux/amd64"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    monkeypatch.setattr(binaries, "MODULES", tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "go.mod").write_text("module made\n\nrequire (\n\texample.org/made v1.2.3\n)\n")
    (tmp_path / "made" / "go.sum").write_text("sum\n")
    return Build("made", {"tool": "example.org/made/cmd/tool"}, "example.org/v.version", "example.org/made")


def test_the_linker_is_told_the_version_that_go_mod_requires(build: Build) -> None:
    assert build.ldflags() == "-s -w -X example.org/v.version=v1.2.3"


def test_a_version_that_is_not_required_is_named(build: Build) -> None:
    (build.folder / "go.mod").write_text("module made\n")
    with pytest.raises(ToolError, match=r"go\.mod does not require example\.org/made"):
        build.ldflags()


@pytest.mark.parametrize("changed", ["go.mod", "go.sum"])
def test_a_changed_module_gets_another_key(build: Build, changed: str) -> None:
    before = build.key(GO)
    path = build.folder / changed
    path.write_text(path.read_text() + "\n// changed\n")
    assert build.key(GO) != before


@pytest.mark.parametrize("go", ["go1.26.9 linux/amd64", "go1.26.8 linux/arm64"])
def test_another_go_or_machine_gets_another_key(build: Build, go: str) -> None:
    assert build.key(go) != build.key(GO)


def test_the_same_input_keeps_its_key(build: Build) -> None:
    assert build.key(GO) == Build(**vars(build)).key(GO)


def test_every_program_of_a_group_comes_from_exactly_one_build() -> None:
    built = [name for build in binaries.BUILDS for name in build.packages]
    assert sorted(built) == sorted(set(built))
    assert {name for group in binaries.GROUPS.values() for name in group} == set(built)


def test_every_build_s_packages_are_tools_of_its_module() -> None:
    for build in binaries.BUILDS:
        text = (build.folder / "go.mod").read_text()
        for package in build.packages.values():
            assert package in text, f"{build.folder / 'go.mod'} does not name {package}"


def test_builds_of_one_module_share_a_folder_and_differ_by_module() -> None:
    keys = {build.key(GO) for build in binaries.BUILDS}
    assert len(keys) == len({build.module for build in binaries.BUILDS})


def test_an_unknown_tool_is_named_with_those_that_exist() -> None:
    with pytest.raises(ToolError, match=r"no tool 'kubeadm'; there are: etcd, kube-apiserver"):
        binaries.binary("kubeadm")


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A `go` that writes what it is asked for, or fails when the folder says so."""
    program = tmp_path / "path" / "go"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = version ] && { echo "go version go1.26.8 linux/amd64"; exit; }\n'
        'while [ $# -gt 0 ]; do [ "$1" = -o ] && output=$2; shift; done\n'
        "[ -e broken ] && { echo '# example.org/made'; echo 'made.go:1: undefined: x'; exit 1; }\n"
        'echo built >> count; echo program > "$output"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for function in (binaries.binary, binaries._go, binaries._go_version):
        function.cache_clear()
    yield program
    for function in (binaries.binary, binaries._go, binaries._go_version):
        function.cache_clear()


def test_a_program_is_built_once_and_found_again(
    build: Build, fake_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "BUILDS", (build,))
    first = binaries.binary("tool")
    binaries.binary.cache_clear()
    assert binaries.binary("tool") == first
    assert first.read_text() == "program\n"
    assert (build.folder / "count").read_text() == "built\n"


def test_a_failed_build_says_why_and_leaves_no_program(
    build: Build, fake_go: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binaries, "BUILDS", (build,))
    (build.folder / "broken").touch()
    with pytest.raises(ToolError, match=r"Building tool failed: .*undefined: x.* \(log: /.*build\.log\)"):
        binaries.binary("tool")
    (build.folder / "broken").unlink()
    assert binaries.binary("tool").read_text() == "program\n"


def test_what_a_build_is_made_of_decides_its_folder(build: Build) -> None:
    parts = b"|".join(
        [(build.folder / "go.mod").read_bytes(), b"sum\n", GO.encode(), build.ldflags().encode()]
    )
    assert build.key(GO) == f"made-{hashlib.sha256(parts).hexdigest()[:16]}"
