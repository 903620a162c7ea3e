"""A repository in a notebook's workspace: cloned once, whole or not at all."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from dulwich import porcelain
from dulwich.repo import Repo

from mlpools.contract.tasks import Code
from mlpools.errors import CodeNotReadable, CodeUnavailable, JobError
from mlpools.notebook.clone import clone, folder
from tests.support.web import Web

PASSWORD = "s3cret-enough"


@pytest.fixture
def left_open() -> Iterator[None]:
    """dulwich leaves the connection of a refused request open, and a process that is refused ends anyway."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web(tmp_path / "web") as web:
        yield web


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    place.mkdir()
    return place


def test_a_branch_with_its_history_that_a_person_can_go_on_with(web: Web, workspace: Path) -> None:
    repository = web.repository("work.git")
    first = repository.commit({"a.py": "1"})
    repository.commit({"a.py": "2", "lib/run.sh": "true"})
    repository.commit({"b.py": "other"}, branch="other")
    clone(Code(git_url=repository.url, revision="main"), workspace, workspace)
    there = workspace / "work"
    assert ((there / "a.py").read_text(), (there / "lib/run.sh").read_text()) == ("2", "true")
    with Repo(str(there)) as made:
        assert porcelain.active_branch(made) == b"main"
        assert first.encode() in made.object_store
        assert porcelain.status(made).unstaged == []
        assert b"refs/remotes/origin/other" in made.refs
        assert made.get_config().get((b"remote", b"origin"), b"url") == repository.url.encode()
        assert made.get_config().get((b"branch", b"main"), b"merge") == b"refs/heads/main"


def test_a_tag_and_a_commit_are_at_no_branch(web: Web, workspace: Path) -> None:
    repository = web.repository("work")
    old = repository.commit({"a.py": "1"})
    repository.tag("v1", old)
    repository.commit({"a.py": "2"})
    for revision in ("v1", old):
        place = workspace / revision
        place.mkdir()
        clone(Code(git_url=repository.url, revision=revision), place, workspace)
        assert (place / "work" / "a.py").read_text() == "1"
        with Repo(str(place / "work")) as made:
            assert made.head() == old.encode()
            assert made.refs.follow(b"HEAD")[0] == [b"HEAD"]


def test_what_is_there_is_left_alone(web: Web, workspace: Path) -> None:
    repository = web.repository("work")
    repository.commit({"a.py": "1"})
    clone(Code(git_url=repository.url, revision="main"), workspace, workspace)
    (workspace / "work" / "a.py").write_text("mine")
    repository.commit({"a.py": "2"})
    clone(Code(git_url=repository.url, revision="main"), workspace, workspace)
    assert (workspace / "work" / "a.py").read_text() == "mine"


@pytest.mark.usefixtures("left_open")
@pytest.mark.parametrize(
    ("revision", "error", "words"),
    [
        ("mian", CodeNotReadable, "^git: .* has no branch or tag 'mian'.* Did you mean 'main'"),
        ("0" * 40, CodeNotReadable, f"^git: .* has no commit {'0' * 40}"),
    ],
)
def test_a_clone_that_fails_says_why_and_leaves_nothing(
    web: Web, workspace: Path, revision: str, error: type[JobError], words: str
) -> None:
    repository = web.repository("work")
    repository.commit({"a.py": "1"})
    with pytest.raises(error, match=words):
        clone(Code(git_url=repository.url, revision=revision), workspace, workspace)
    assert [path for path in workspace.rglob("*") if path.is_file()] == []


def test_a_server_that_does_not_answer(tmp_path: Path, workspace: Path) -> None:
    with Web(tmp_path / "gone") as web:
        gone = web.url
    with pytest.raises(CodeUnavailable, match=r"^git: .* does not answer"):
        clone(Code(git_url=f"{gone}/git/work", revision="main"), workspace, workspace)


@pytest.mark.usefixtures("left_open")
def test_a_password_is_in_no_message_and_in_no_file(tmp_path: Path, workspace: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    with Web(tmp_path / "closed", "ada", PASSWORD) as web:
        repository = web.repository("work")
        repository.commit({"a.py": "1"})
        with pytest.raises(CodeNotReadable, match=r"name a Secret in git\.secret"):
            clone(Code(git_url=repository.url, revision="main"), workspace, mount)
        (mount / "username").write_text("ada")
        (mount / "password").write_text("wrong-one")
        code = Code(git_url=repository.url, revision="main", secret="login")
        with pytest.raises(CodeNotReadable, match="correct Secret login") as refusal:
            clone(code, workspace, mount)
        assert "wrong-one" not in str(refusal.value)
        (mount / "password").write_text(PASSWORD)
        clone(code, workspace, mount)
    for path in workspace.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://host.test/team/work.git", "work"),
        ("https://host.test/a/b/", "b"),
        ("https://h.test/.git", "repository"),
    ],
)
def test_the_folder_is_named_as_git_does(url: str, name: str) -> None:
    assert folder(url) == name
