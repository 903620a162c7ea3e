"""Archives without a registry, and a node's copy of what was imported."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from tools.cluster import base_image
from tools.cluster.image_store import ImageStore, references
from tools.steps import ToolError


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    base_image.write_archive(path, b"program", ["sh", "busybox", "sleep"])
    return path


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in found.items() if file is not None}


def test_every_blob_has_the_digest_by_which_it_is_named(archive: Path) -> None:
    named = {name.removeprefix("blobs/sha256/"): data for name, data in blobs(archive).items() if "/" in name}
    assert len(named) == 3  # manifest, configuration, layer
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in named.items())


def test_the_image_has_a_shell_that_is_busybox(archive: Path) -> None:
    found = blobs(archive)
    manifest = json.loads(found[f"blobs/sha256/{references(archive)[base_image.IMAGE][7:]}"])
    layer = found[f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"]
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:gz") as tar:
        assert tar.getmember("bin/sh").linkname == "busybox"
        assert tar.getmember("bin/busybox").mode == 0o755
        assert tar.getmember("tmp").mode == 0o1777


def test_the_same_program_gives_the_same_archive(archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    base_image.write_archive(again, b"program", ["sh", "busybox", "sleep"])
    assert again.read_bytes() == archive.read_bytes()


def test_a_file_that_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.tar"
    path.write_text("no tar file")
    with pytest.raises(ToolError, match=r"broken\.tar is not an OCI archive"):
        references(path)


def test_a_store_lacks_an_image_of_the_same_name_with_other_content(archive: Path, tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "root")
    store.root.mkdir()
    assert store.lacks(archive)
    (store.root / "imported.json").write_text(json.dumps(references(archive)))
    assert not store.lacks(archive)
    base_image.write_archive(archive, b"another program", ["sh"])
    assert store.lacks(archive)


def test_a_node_shares_files_of_images_but_no_database(tmp_path: Path) -> None:
    root, target = tmp_path / "root", tmp_path / "node" / "containerd"
    for name in ("content/blob", "metadata/meta.db", "snapshots/1/fs/bin/tool", "imported.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("before")
    (root / "content" / "link").symlink_to("blob")
    (target.parent / "containerd.aside").mkdir(parents=True)  # left by one that was killed
    ImageStore(root).plant(target)
    for name in ("metadata/meta.db", "imported.json"):
        (target / name).write_text("the node's own")
        assert (root / name).read_text() == "before"
    assert (target / "snapshots/1/fs/bin/tool").samefile(root / "snapshots/1/fs/bin/tool")
    assert (target / "content" / "link").is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["containerd"]
