"""A job's own code as it is fetched and laid down, from each place that it can come from."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import pytest

from mlpools.contract.tasks import Code
from mlpools.contract.wiring import CODE_TREE
from mlpools.errors import CodeNotReadable, CodeUnavailable, JobError, SecretMissing
from mlpools.gang import Gang
from mlpools.runtime.code import Fetcher
from mlpools.train import user_code
from tests.support.archives import served, tar, zipped
from tests.support.pods import task
from tests.support.web import Web

FILES = {"train.py": "print(1)\n", "lib/__init__.py": "", "lib/more.py": "x = 1\n"}
PASSWORD = "s3cret-9f2c"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "web") as web:
        yield web


@pytest.fixture
def left_open() -> Iterator[None]:
    """dulwich leaves the connection of a refused request open, and a process that is refused ends anyway."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def lay_down(folder: Path, code: Code, files: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the code as a lone rank has it."""
    mount, scratch = folder / "mount", folder / "scratch"
    mount.mkdir()
    for name, text in (files or {}).items():
        (mount / name).write_text(text)
    Fetcher(task(folder / "out", code=code.to_dict()), Gang(), scratch, mount).run()
    return scratch / CODE_TREE


def test_an_image_that_cannot_read_git_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one with Python 3.9, which does not know dulwich's language."""
    monkeypatch.setitem(sys.modules, "dulwich", None)
    with pytest.raises(CodeNotReadable, match=r"cannot read Git repositories .* takes Python 3\.10 or newer"):
        lay_down(tmp_path, Code(git_url="http://127.0.0.1:1/x", revision="main"))


def content(tree: Path) -> dict[str, str]:
    return {str(it.relative_to(tree)): it.read_text() for it in sorted(tree.rglob("*")) if it.is_file()}


@pytest.mark.parametrize(
    "packed",
    [
        tar(FILES),
        tar({f"project-0123/{name}": text for name, text in FILES.items()}),
        zipped(FILES),
        zipped({f"project-0123/{name}": text for name, text in FILES.items()}),
    ],
    ids=["tar", "tar of a repository", "zip", "zip of a repository"],
)
def test_an_archive_is_unpacked_at_its_root(tmp_path: Path, web: Web, packed: bytes) -> None:
    assert content(lay_down(tmp_path, served(web, packed))) == FILES


def test_a_package_alone_in_an_archive_stays_a_package(tmp_path: Path, web: Web) -> None:
    tree = lay_down(tmp_path, served(web, tar({"lib/__init__.py": "", "lib/train.py": ""})))
    assert set(content(tree)) == {"lib/__init__.py", "lib/train.py"}


def test_programs_of_an_archive_stay_programs(tmp_path: Path, web: Web) -> None:
    tree = lay_down(tmp_path, served(web, zipped({"run.sh": "true\n"}, 0o100755)))
    assert os.access(tree / "run.sh", os.X_OK)


def test_another_archive_than_was_meant_is_not_unpacked(tmp_path: Path, web: Web) -> None:
    meant, there = hashlib.sha256(b"meant").hexdigest(), tar(FILES)
    with pytest.raises(CodeNotReadable, match=meant) as refusal:
        lay_down(tmp_path, Code(url=web.file("code.tar.gz", there), sha256=meant))
    assert hashlib.sha256(there).hexdigest() in str(refusal.value)
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("packed", "words"),
    [
        (b"just text", "is neither a tar archive nor a zip archive"),
        (tar({"../out.py": "x"}), "leads out of it"),
        (tar(FILES, evil="/etc/passwd"), "leads out of it"),
        (tar(FILES, evil="../../pods"), "leads out of it"),
        (zipped({"../out.py": "x"}), "leads out of it"),
        (zipped({"link": "/etc/passwd"}, 0o120777), "leads out of it"),
        (tar(FILES)[:-30], "cannot be unpacked"),
    ],
    ids=["text", "name", "link", "relative link", "zip name", "zip link", "cut"],
)
def test_an_archive_stays_in_its_folder_or_is_none(
    tmp_path: Path, web: Web, packed: bytes, words: str
) -> None:
    with pytest.raises(CodeNotReadable, match=words):
        lay_down(tmp_path, served(web, packed))
    assert not list((tmp_path / "scratch").iterdir())
    assert not list(tmp_path.rglob("out.py"))


def test_code_that_does_not_fit_is_refused_before_it_fills_the_disk(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpools.budgets.disk", lambda _: 2 << 20)
    packed = tar({"big.bin": "\0" * 3_000_000})
    assert len(packed) < 10_000
    with pytest.raises(CodeNotReadable, match="does not fit into the 2 MiB of disk"):
        lay_down(tmp_path, served(web, packed))


@pytest.mark.parametrize(
    ("status", "error"), [("503 Busy", CodeUnavailable), ("403 Forbidden", CodeNotReadable)]
)
def test_a_server_that_does_not_hand_it_out(
    tmp_path: Path, web: Web, status: str, error: type[JobError]
) -> None:
    wanted = served(web, tar(FILES))
    web.status = status
    with pytest.raises(error, match=status):
        lay_down(tmp_path, wanted)


def test_an_old_python_unpacks_too(tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tarfile, "data_filter")
    tree = lay_down(tmp_path, served(web, tar(FILES, near="train.py")))
    assert content(tree) == {**FILES, "near": FILES["train.py"]}
    assert (tree / "near").readlink() == Path("train.py")


def test_an_archive_on_a_volume(tmp_path: Path) -> None:
    packed = tar(FILES)
    (tmp_path / "code.tar.gz").write_bytes(packed)
    code = Code(url=f"file://{tmp_path}/code.tar.gz", sha256=hashlib.sha256(packed).hexdigest().upper())
    assert content(lay_down(tmp_path, code)) == FILES


def test_an_archive_that_is_not_on_the_volume(tmp_path: Path) -> None:
    with pytest.raises(CodeNotReadable, match=r"no\.tar is not there"):
        lay_down(tmp_path, Code(url=f"file://{tmp_path}/no.tar", sha256="0" * 64))


def test_a_tag_a_commit_programs_and_links(tmp_path: Path, web: Web) -> None:
    repository = web.repository("code")
    old = repository.commit({"lib/a.py": "a", "run.sh": "true"}, links={"lib/b.py": "a.py"})
    repository.tag("v1", old)
    repository.commit({"train.py": "newer"})
    for at, revision in enumerate(("v1", old, "refs/tags/v1")):
        folder = tmp_path / str(at)
        folder.mkdir()
        tree = lay_down(folder, Code(git_url=repository.url, revision=revision))
        assert content(tree) == {"lib/a.py": "a", "lib/b.py": "a", "run.sh": "true"}
        assert os.access(tree / "run.sh", os.X_OK)


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("mian", "no branch or tag 'mian'.* Did you mean 'main'?"),
        ("0" * 40, f"has no commit {'0' * 40}"),
    ],
)
def test_a_revision_that_is_not_there(tmp_path: Path, web: Web, revision: str, words: str) -> None:
    repository = web.repository("code")
    repository.commit({"train.py": ""})
    with pytest.raises(CodeNotReadable, match=words):
        lay_down(tmp_path, Code(git_url=repository.url, revision=revision))


@pytest.mark.parametrize("goal", ["../../../etc", "/etc/passwd"])
def test_a_link_that_leads_out_of_a_repository(tmp_path: Path, web: Web, goal: str) -> None:
    repository = web.repository("code")
    repository.commit({"train.py": ""}, links={"data": goal})
    with pytest.raises(CodeNotReadable, match="has the link data, which leads out of it"):
        lay_down(tmp_path, Code(git_url=repository.url, revision="main"))


@pytest.mark.usefixtures("left_open")
@pytest.mark.parametrize(
    ("secret", "files", "error", "words"),
    [
        ("login", {"username": "ada", "password": "wrong-one"}, CodeNotReadable, "correct Secret login"),
        ("login", {"username": "ada"}, SecretMissing, "Secret login has no key password"),
        ("", {}, CodeNotReadable, r"name a Secret in code\.git\.secret"),
    ],
)
def test_a_repository_that_asks_for_a_password(
    tmp_path: Path, secret: str, files: dict[str, str], error: type[JobError], words: str
) -> None:
    with Web(tmp_path / "web", "ada", PASSWORD) as web:
        repository = web.repository("code")
        repository.commit({"train.py": "x"})
        with pytest.raises(error, match=words) as refusal:
            lay_down(tmp_path, Code(git_url=repository.url, revision="main", secret=secret), files)
    assert "wrong-one" not in str(refusal.value)


@pytest.mark.usefixtures("left_open")
def test_a_repository_that_is_not_there(tmp_path: Path, web: Web) -> None:
    with pytest.raises(CodeNotReadable, match="no repository at"):
        lay_down(tmp_path, Code(git_url=f"{web.url}/files/none", revision="main"))


def test_a_repository_whose_server_does_not_answer(tmp_path: Path) -> None:
    with Web(tmp_path / "web") as web:
        gone = web.url
    with pytest.raises(CodeUnavailable, match="does not answer"):
        lay_down(tmp_path, Code(git_url=f"{gone}/git/code", revision="main"))


def test_what_is_to_run_is_looked_for_before_anything_runs(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = served(
        web, tar({"train.py": "", "team/model/net.py": "raise SystemExit('imported')", ".x/a.py": ""})
    )
    lay_down(tmp_path, code)
    monkeypatch.setenv("MLPOOLS_CODE", str(tmp_path / "scratch"))
    job = task(tmp_path / "out", code=code.to_dict())
    assert user_code.find_file(job, "train.py") == tmp_path / "scratch/tree/train.py"
    for name in ("train", "team.model.net", "json.tool", "numpy"):
        user_code.find_module(job, name)
    with pytest.raises(
        CodeNotReadable, match=r"Did you mean 'train.py'\? Files at hand: .*team/model/net.py"
    ):
        user_code.find_file(job, "trian.py")
    with pytest.raises(CodeNotReadable, match=r"Did you mean 'team.model.net'\?"):
        user_code.find_module(job, "team.model.nett")
    environ = user_code.environment(job)
    assert environ["PYTHONPATH"].split(":")[0] == str(tmp_path / "scratch/tree")
    assert user_code.environment(task(tmp_path), {"A": "b"}) == {"A": "b"}


def test_where_code_comes_from_travels_as_it_is() -> None:
    code = Code("a", "https://b.test", "c", "https://d.test", "e", "f")
    assert asdict(Code.from_dict(json.loads(code.to_json()))) == asdict(code)
