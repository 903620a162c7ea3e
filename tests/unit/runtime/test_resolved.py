"""What uv is told of the image, and what is read from what it writes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from mlpools.runtime import held, pinned
from mlpools.runtime.pinned import Pinned, Wheel

RESOLVED = """
cat==2.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   dog
    #   horse
cat-food==1.0+cu1 \\
    --hash=sha256:cc
    # via cat
dog==1.0 \\
    --hash=sha256:dd
    # via
    #   -r /scratch/wanted.txt
    #   horse
zebra==1!2.0

# The following packages were excluded from the output:
# numpy
"""


def test_what_is_resolved_is_read_with_its_checksums_and_who_needs_it() -> None:
    assert pinned.packages(RESOLVED) == [
        Pinned("cat", "2.0", ["sha256:aa", "sha256:bb"], "dog"),
        Pinned("cat-food", "1.0+cu1", ["sha256:cc"], "cat"),
        Pinned("dog", "1.0", ["sha256:dd"]),
        Pinned("zebra", "1!2.0", []),
    ]
    assert pinned.packages("# The following packages were excluded from the output:\n# numpy\n") == []


def of(*checksums: str) -> Pinned:
    return Pinned("any", "1.0", [f"sha256:{it}" for it in checksums])


def test_wheels_are_read_with_their_names_if_their_checksum_is_known() -> None:
    there = {"url": "https://pypi.test/a%2B1/cat-2.0%2Bx-py3-none-any.whl", "hashes": {"sha256": "aa"}}
    named = {
        "url": "https://pypi.test/file?id=7",
        "name": "dog-1.0-py3-none-any.whl",
        "hashes": {"sha256": "b"},
    }
    unknown = {"url": "https://pypi.test/cow-1.0-py3-none-any.whl", "hashes": {"md5": "c"}}
    lock = {"packages": [{"wheels": [there, unknown]}, {"name": "source only"}, {"wheels": [named]}]}
    assert pinned.wheels(lock, [of("aa"), of("b")]) == [
        Wheel("cat-2.0+x-py3-none-any.whl", there["url"], "aa"),
        Wheel("dog-1.0-py3-none-any.whl", named["url"], "b"),
    ]


def test_of_several_wheels_that_could_be_used_one_is_taken() -> None:
    def read(*checksums: str) -> list[str]:
        tags = ("cp311-abi3-linux_x86_64", "cp39-abi3-linux_x86_64", "py3-none-any")
        files = [
            {"url": f"https://pypi.test/cat-2026-{tag}.whl", "hashes": {"sha256": tag[:4]}} for tag in tags
        ]
        return [wheel.sha256 for wheel in pinned.wheels({"packages": [{"wheels": files}]}, [of(*checksums)])]

    assert read("cp31", "cp39", "py3-") == ["cp31"]
    assert read("cp39", "py3-") == ["cp39"], "the job's requirements have checksums of their own"
    assert read("none") == []


def test_the_image_is_told_with_its_extras_and_without_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def package(folder: str, text: str) -> None:
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "METADATA").write_text(
            f"Metadata-Version: 2.1\n{text}\n\nRequires-Dist: of-the-description\n"
        )

    more = "Requires-Dist: tail>=1\nProvides-Extra: food\nRequires-Dist: cat-food ; extra == 'food'"
    package("first/Big_Cat-1.0.dist-info", f"Name: Big_Cat\nVersion: 1.0\n{more}")
    package("second/big_cat-2.0.dist-info", "Name: big-cat\nVersion: 2.0")
    package("first/gpu-2.8.0+cu128.dist-info", "Name: gpu\nVersion: 2.8.0+cu128")
    package("first/old-1.dist-info", "Name: old\nVersion: 1.0-final-2")
    package("first/half.dist-info", "Summary: removed")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    assert held.write(wheels) == {"big-cat": "1.0+image", "gpu": "2.8.0+cu128"}
    with zipfile.ZipFile(wheels / "big_cat-1.0+image-py3-none-any.whl") as wheel:
        said = wheel.read("big_cat-1.0+image.dist-info/METADATA").decode().splitlines()
    assert said == [
        "Metadata-Version: 2.1",
        "Name: big-cat",
        "Version: 1.0+image",
        "Provides-Extra: food",
        "Requires-Dist: cat-food ; extra == 'food'",
    ]
