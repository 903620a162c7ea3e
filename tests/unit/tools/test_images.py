"""Which images are built again, and what is packed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tools import images
from tools.images import archive, builders, keys, pipeline
from tools.images.archive import Layer
from tools.steps import ToolError

DEPENDENCIES, FURTHER, CODE = b"dependencies" * 1000, b"further", b"code"


def blob(layout: Path, content: bytes) -> dict[str, Any]:
    name = hashlib.sha256(content).hexdigest()
    path = layout / "blobs" / "sha256" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
    return {"digest": f"sha256:{name}", "size": len(content)}


def write_layout(layout: Path, layers: list[bytes]) -> None:
    """An image in a layout, as builders leave it; layers whose files are there are left alone."""
    manifest = {
        "schemaVersion": 2,
        "config": blob(layout, json.dumps({"layers": len(layers)}).encode()),
        "layers": [blob(layout, layer) for layer in layers],
    }
    described = blob(layout, json.dumps(manifest).encode())
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))


@dataclass
class RecordingBuilder:
    """Builds nothing; hands out an image of a layer of dependencies and a layer of code."""

    context: Path
    built: list[str] = field(default_factory=list)
    fails: bool = False

    def build(self, target: str, reference: str, version: str) -> None:
        self.built.append(target)

    def export(self, reference: str, layout: Path, known: Collection[Layer]) -> None:
        archive.pretend(layout, known)
        code = [] if "-dependencies:" in reference else [CODE]
        upon = [FURTHER] if "-full" in reference else []
        write_layout(layout, [DEPENDENCIES, *upon, *code])
        if self.fails:
            (layout / "blobs" / blob(layout, DEPENDENCIES)["digest"].replace(":", "/")).unlink()

    def keep(self, references: Collection[str]) -> None:
        self.kept = list(references)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this repository's sources, and an empty cache."""
    root = tmp_path / "checkout"
    keys.copy_sources(pipeline.ROOT, root)
    monkeypatch.setattr(pipeline, "ROOT", root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return root


@pytest.fixture
def builder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> RecordingBuilder:
    recording = RecordingBuilder(checkout)
    monkeypatch.setattr(builders, "choose", lambda folder, context: recording)
    return recording


def append(path: Path, text: str = "\n# changed\n") -> None:
    path.write_text(path.read_text() + text)


USUAL = ["operator-dependencies", "operator", "runtime-dependencies", "runtime"]
FULL = ["runtime-full-dependencies", "runtime-full"]
EVERYTHING = [*USUAL, *FULL]


@pytest.mark.parametrize(
    ("changed", "built"),
    [
        (None, []),
        ("README.md", []),
        ("workloads/mlpools/contract/tasks.py", ["operator", "runtime", "runtime-full"]),
        ("pyproject.toml", ["operator", "runtime", "runtime-full"]),
        ("requirements/build.txt", ["operator", "runtime", "runtime-full"]),
        ("requirements/runtime.txt", ["runtime-dependencies", "runtime", *FULL]),
        ("requirements/runtime-full.txt", FULL),
        ("requirements/operator.txt", ["operator-dependencies", "operator"]),
        ("Dockerfile", EVERYTHING),
    ],
)
def test_only_what_a_change_reaches_is_built_again(
    checkout: Path, builder: RecordingBuilder, changed: str | None, built: list[str]
) -> None:
    first = images.build(*keys.TARGETS)
    assert builder.built == EVERYTHING
    builder.built.clear()
    if changed:
        append(checkout / changed)
    second = images.build(*keys.TARGETS)
    assert builder.built == built
    for target in keys.TARGETS:
        assert (second[target].reference != first[target].reference) == (target in built)


def test_the_full_image_is_built_only_when_asked_for_and_brings_what_it_lies_on(
    builder: RecordingBuilder,
) -> None:
    assert list(images.build()) == ["operator", "runtime"]
    assert builder.built == USUAL
    builder.built.clear()
    built = images.build("runtime-full")["runtime-full"]
    assert builder.built == FULL
    assert [path.name.partition("_")[0] for path in built.paths] == [
        "mlpools-runtime-dependencies",
        "mlpools-runtime-full-dependencies",
        "mlpools-runtime-full",
    ]


def test_a_file_that_appears_or_moves_changes_the_image(checkout: Path) -> None:
    package = checkout / "workloads" / "mlpools"
    seen = {keys.image(checkout, "runtime")}
    (package / "new.py").write_text("")
    seen.add(keys.image(checkout, "runtime"))
    (package / "new.py").rename(package / "newer.py")
    seen.add(keys.image(checkout, "runtime"))
    assert len(seen) == 3


def test_bytecode_is_not_a_source(checkout: Path, tmp_path: Path) -> None:
    cache = checkout / "workloads" / "mlpools" / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "gang.cpython-311.pyc").write_bytes(os.urandom(8))
    again = tmp_path / "again"
    keys.copy_sources(checkout, again)
    shutil.rmtree(cache)
    assert keys.image(again, "runtime") == keys.image(checkout, "runtime")


def test_a_base_of_other_packages_is_another_base(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys.base(), keys.dependencies(checkout, "runtime")
    monkeypatch.setattr(keys, "PACKAGES", (*keys.PACKAGES, "tzdata"))
    after = keys.base(), keys.dependencies(checkout, "runtime")
    assert not set(before) & set(after)


def test_the_archive_of_code_is_thin(builder: RecordingBuilder) -> None:
    below, thin = images.build("operator")["operator"].paths
    layer = blob(below.parent, DEPENDENCIES)["digest"].replace(":", "/")
    with tarfile.open(below) as tar:
        assert f"blobs/{layer}" in tar.getnames()
    with tarfile.open(thin) as tar:
        assert f"blobs/{layer}" not in tar.getnames()
        assert [archive_layer.size for archive_layer in archive.layers(thin)] == [
            len(DEPENDENCIES),
            len(CODE),
        ]
    assert thin.stat().st_size < below.stat().st_size


@pytest.mark.parametrize("target", keys.TARGETS)
def test_archives_together_hold_every_blob_of_the_image_unchanged(
    builder: RecordingBuilder, target: str
) -> None:
    built = images.build(target)[target]
    blobs: dict[str, bytes] = {}
    for path in built.paths:
        with tarfile.open(path) as tar:
            for member in tar.getmembers():
                if member.name.startswith("blobs/"):
                    file = tar.extractfile(member)
                    assert file is not None
                    blobs[member.name.removeprefix("blobs/").replace("/", ":")] = file.read()
    for digest, content in blobs.items():
        assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    manifest = json.loads(blobs[built.digest])
    wanted = {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    assert wanted <= set(blobs)


def test_an_archive_says_its_images_whole_name_first(builder: RecordingBuilder) -> None:
    built = images.build("runtime")["runtime"]
    with tarfile.open(built.paths[-1]) as tar:
        first = tar.next()
        assert first is not None
        assert first.name == "index.json"
        file = tar.extractfile(first)
        assert file is not None
        (described,) = json.load(file)["manifests"]
    assert described["annotations"] == {archive.REF_NAME: built.reference}
    assert described["digest"] == built.digest


def test_a_build_that_fails_leaves_nothing_that_looks_built(
    builder: RecordingBuilder, tmp_path: Path
) -> None:
    builder.fails = True
    with pytest.raises(FileNotFoundError):
        images.build()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    builder.fails = False
    images.build()
    assert builder.built == [USUAL[0], *USUAL]


def test_old_archives_are_forgotten_and_their_images_with_them(
    checkout: Path, builder: RecordingBuilder, tmp_path: Path
) -> None:
    for _ in range(keys.TARGETS["runtime"].archives + 3):
        append(checkout / "workloads" / "mlpools" / "contract" / "tasks.py")
        latest = images.build()
    folder = tmp_path / "cache" / "mlpools" / "images"
    archives = {path.stem for path in folder.glob("*.tar")}
    assert (
        len([name for name in archives if name.startswith("mlpools-runtime_")])
        == keys.TARGETS["runtime"].archives
    )
    assert {path.stem for one in latest.values() for path in one.paths} <= archives
    assert {reference.removeprefix("localhost/").replace(":", "_") for reference in builder.kept} == archives


def test_what_is_edited_during_a_build_is_not_taken_for_what_was_there(
    checkout: Path, builder: RecordingBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[str] = []
    contract = Path("workloads/mlpools/contract/tasks.py")
    before = (checkout / contract).read_text()

    def choose(folder: Path, context: Path) -> RecordingBuilder:
        append(checkout / contract)
        contexts.append((context / contract).read_text())
        return builder

    monkeypatch.setattr(builders, "choose", choose)
    images.build()
    assert contexts == [before]


def test_of_the_largest_archive_only_the_latest_is_kept(
    checkout: Path, builder: RecordingBuilder, tmp_path: Path
) -> None:
    for _ in range(3):
        append(checkout / "requirements" / "runtime-full.txt")
        images.build("runtime-full")
    folder = tmp_path / "cache" / "mlpools" / "images"
    assert len(list(folder.glob("mlpools-runtime-full-dependencies_*.tar"))) == 1


def test_an_unknown_image_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(ToolError, match="There is no image 'gpu'; there are: operator, runtime"):
        images.build("gpu")


def test_a_machine_that_cannot_build_is_told_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="apt-get install buildah debootstrap"):
        builders.choose(tmp_path, tmp_path)


Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a shell script on PATH under a program's name, in front of all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def install(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return install


def test_a_docker_that_does_not_answer_is_not_taken(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("docker", "exit 1")
    program("podman", "exit 0")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    chosen = builders.choose(tmp_path, tmp_path)
    assert isinstance(chosen, builders.Engine)
    assert chosen.program == "podman"


def test_a_failure_is_one_line_that_names_the_cause_and_the_log(tmp_path: Path, program: Program) -> None:
    program("docker", "echo step 1; echo 'ERROR: no matching hash' >&2; exit 1")
    engine = builders.Engine("docker", tmp_path, tmp_path)
    with pytest.raises(ToolError) as raised:
        engine.build("operator", "localhost/x:1", "0.1.0")
    assert str(raised.value).splitlines() == [
        f"docker build failed: ERROR: no matching hash (log: {tmp_path}/build.log)"
    ]
    assert "step 1" in (tmp_path / "build.log").read_text()


def test_an_image_that_an_engine_saved_is_packed_like_ours(tmp_path: Path, program: Program) -> None:
    write_layout(tmp_path / "saved", [DEPENDENCIES, CODE])
    subprocess.run(["tar", "-cf", "saved.tar", "-C", "saved", "."], cwd=tmp_path, check=True)
    program(
        "docker",
        f'for last; do case $last in --output=*) cp {tmp_path}/saved.tar "${{last#*=}}";; esac; done',
    )
    layout = tmp_path / "layout"
    builders.Engine("docker", tmp_path, tmp_path).export("localhost/x:1", layout, ())
    path = tmp_path / "x.tar"
    archive.write(layout, path, "localhost/x:1")
    assert [layer.size for layer in archive.layers(path)] == [len(DEPENDENCIES), len(CODE)]


def test_a_docker_with_a_format_of_its_own_is_refused(tmp_path: Path, program: Program) -> None:
    (tmp_path / "manifest.json").write_text("[]")
    subprocess.run(["tar", "-cf", "saved.tar", "manifest.json"], cwd=tmp_path, check=True)
    program(
        "docker",
        f'for last; do case $last in --output=*) cp {tmp_path}/saved.tar "${{last#*=}}";; esac; done',
    )
    with pytest.raises(ToolError, match="does not save OCI images"):
        builders.Engine("docker", tmp_path, tmp_path).export("localhost/x:1", tmp_path / "layout", ())


def test_the_dockerfile_reads_nothing_that_is_not_copied(checkout: Path) -> None:
    """What a build in the cache sees is what `docker build .` sees."""
    sources = [
        source
        for line in (checkout / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    assert sources
    for source in sources:
        assert (checkout / source).exists(), source
