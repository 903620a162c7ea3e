"""A Git repository over HTTP, read by dulwich: images need no ``git``.

Of a job's code only the commit itself is fetched, without its history; a notebook gets a clone. Files of
submodules and of Git LFS are not fetched.
"""

from __future__ import annotations

import contextlib
import errno
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlpools.errors import CodeNotReadable, CodeUnavailable, SecretMissing, at_hand, one_line
from mlpools.train.reporter import log

_COMMIT = re.compile("[0-9a-f]{40}")
_TIMEOUT_SECONDS = 60.0
#: What a server says that answers and will not serve.
_REFUSED = re.compile(r"unexpected http resp 4\d\d")


class Repository:
    """A repository of which this side writes nothing."""

    def __init__(self, url: str, secret: str, mount: Path, work: Path, field: str = "code.git") -> None:
        """Prepare; nothing is asked yet.

        Args:
            url: http or https, without credentials.
            secret: name of the Secret with them; empty if there is none.
            mount: folder with the Secret's files.
            work: folder for what is fetched meanwhile.
            field: of the spec that names it, for messages.

        Raises:
            SecretMissing: the Secret has no password.
            CodeNotReadable: the image has no dulwich.
        """
        try:
            from dulwich import client, config
        except ImportError as error:
            raise CodeNotReadable(
                f"{field}: this image cannot read Git repositories ({one_line(error)}): it takes Python "
                "3.10 or newer."
            ) from error
        self._url, self._secret, self._work, self._field = url, secret, work, field
        parts = urlsplit(url)
        self._path = parts.path
        settings = config.ConfigDict()
        authority = mount / "ca.crt"
        if secret and authority.exists():
            settings.set((b"http",), b"sslCAInfo", str(authority).encode())
        name, password = _login(secret, mount, field) if secret else (None, None)
        root = f"{parts.scheme}://{parts.netloc}/"
        self._client = client.HttpGitClient(
            root, config=settings, username=name, password=password, timeout=_TIMEOUT_SECONDS
        )

    def resolve(self, revision: str) -> str:
        """Return the commit that a branch, a tag or a commit means now.

        Raises:
            CodeNotReadable: there is none of this name, or no such repository for us.
            CodeUnavailable: the server does not answer.
        """
        if _COMMIT.fullmatch(revision):
            return revision
        with self._asking():
            refs = {
                name.decode(): sha for name, sha in self._client.get_refs(self._path.encode()).refs.items()
            }
        for prefix in ("refs/tags/", "refs/heads/", ""):
            # An annotated tag is an object of its own; ^{} is the commit that it names.
            for name in (f"{prefix}{revision}^{{}}", f"{prefix}{revision}"):
                if refs.get(name):
                    return str(refs[name].decode())
        names = [
            name.partition("/")[2].partition("/")[2]
            for name in sorted(refs)
            if name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}")
        ]
        raise CodeNotReadable(
            f"{self._field}: {self._url} has no branch or tag {revision!r}, and a commit is written with all "
            f"its 40 digits. {at_hand(revision, names, 'Branches and tags')}"
        )

    def lay_down(self, commit: str, revision: str, target: Path, limit: int) -> None:
        """Write the files of a commit.

        Args:
            commit: 40 hexadecimal digits.
            revision: that it was found by, for messages.
            target: folder that is made.
            limit: bytes that all files may have together.

        Raises:
            CodeNotReadable: there is no such commit, it is too large, or a link leads out of it.
            CodeUnavailable: the server does not answer.
        """
        from dulwich.repo import Repo

        with contextlib.closing(Repo.init_bare(str(self._work / "git"), mkdir=True)) as repository:
            self._fetch(repository, commit)
            store = repository.object_store
            if commit.encode() not in store:
                raise CodeNotReadable(f"{self._field}: {self._url} has no commit {revision}.")
            target.mkdir(parents=True)
            _write(store, store[commit.encode()].tree, target, limit, self._url)

    def clone(self, revision: str, target: Path) -> str:
        """Make a clone with all branches and their history, and return the commit that it is at.

        Args:
            revision: branch, tag or commit. A branch is one of the clone; with the others it is at none.
            target: folder that is made.

        Raises:
            CodeNotReadable: there is no such repository, revision or commit for us, or it does not fit.
            CodeUnavailable: the server does not answer.
        """
        commit = self.resolve(revision)
        with self._asking():
            clone = self._client.clone(self._path, str(target), checkout=False, origin_url=self._url)
        with contextlib.closing(clone), self._asking():
            if commit.encode() not in clone.object_store:
                raise CodeNotReadable(f"{self._field}: {self._url} has no commit {revision}.")
            branch = f"refs/heads/{revision}".encode()
            if f"refs/remotes/origin/{revision}".encode() in clone.refs:
                clone.refs[branch] = commit.encode()
                clone.refs.set_symbolic_ref(b"HEAD", branch)
                settings = clone.get_config()
                settings.set((b"branch", revision.encode()), b"remote", b"origin")
                settings.set((b"branch", revision.encode()), b"merge", branch)
                settings.write_to_path()
            else:
                clone.refs.remove_if_equals(b"HEAD", None)
                clone.refs[b"HEAD"] = commit.encode()
            clone.get_worktree().reset_index()
        return commit

    def _fetch(self, repository: Any, commit: str) -> None:
        """Fetch one commit; a server that gives none but those of branches and tags gives all of these."""
        from dulwich.errors import GitProtocolError, HangupException

        path, wanted = self._path.encode(), commit.encode()
        with self._asking():
            try:
                self._client.fetch(path, repository, determine_wants=lambda *_, **__: [wanted], depth=1)
            except (GitProtocolError, HangupException) as error:
                if error.__cause__ is not None or _REFUSED.search(str(error)):
                    raise
                self._client.fetch(path, repository)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        from dulwich.client import HTTPUnauthorized
        from dulwich.errors import GitProtocolError, HangupException, NotGitRepository

        credentials = (
            f"correct Secret {self._secret}" if self._secret else f"name a Secret in {self._field}.secret"
        )
        try:
            yield
        except HTTPUnauthorized as error:
            why = "does not let these credentials in" if self._secret else "asks for credentials"
            raise CodeNotReadable(f"{self._field}: {self._url} {why}: {credentials}.") from error
        except NotGitRepository as error:
            raise CodeNotReadable(
                f"{self._field}: there is no repository at {self._url}, or none for these credentials: "
                f"correct the URL, or {credentials}."
            ) from error
        except (GitProtocolError, HangupException, OSError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise CodeNotReadable(
                    f"{self._field}: {self._url} does not fit on the disk: keep data out of the repository, "
                    "or take a larger volume."
                ) from error
            if _REFUSED.search(str(error)):
                raise CodeNotReadable(
                    f"{self._field}: {self._url} refuses: {one_line(error)}: {credentials}."
                ) from error
            raise CodeUnavailable(
                f"{self._field}: {self._url} does not answer: {one_line(error)[:300]}."
            ) from error


def _login(secret: str, mount: Path, field: str) -> tuple[str, str]:
    """Read the credentials; a token is a password, whose user most servers do not look at."""
    try:
        password = (mount / "password").read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:
        raise SecretMissing(
            f"{field}.secret: Secret {secret} has no key password, a password or a token: add it."
        ) from None
    name = mount / "username"
    return (name.read_text(encoding="utf-8").rstrip("\n") if name.exists() else "git"), password


def _write(store: Any, tree: bytes, target: Path, limit: int, url: str) -> None:
    """Write a tree; links come last, so that no file can be written through one."""
    size, links = 0, []
    for entry in store.iter_tree_contents(tree):
        path = entry.path.decode("utf-8", "surrogateescape")
        parts = path.split("/")
        if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts):
            raise CodeNotReadable(
                f"code.git: {url} has a file of the name {path!r}, which is taken by no system."
            )
        if stat.S_IFMT(entry.mode) == 0o160000:
            log(f"{path} is a submodule, whose files are not fetched")
            continue
        content = store[entry.sha].data
        size += len(content)
        if size > limit:
            raise CodeNotReadable(
                f"code.git: {url} does not fit into the {limit / (1 << 20):.0f} MiB of disk that this pod "
                "may use: keep data out of the repository, or take a pool with more ephemeral storage."
            )
        if stat.S_ISLNK(entry.mode):
            links.append((path, content.decode("utf-8", "surrogateescape")))
            continue
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if entry.mode & stat.S_IXUSR:
            file.chmod(0o755)
    for path, leads_to in links:
        link = target / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(leads_to)
        if not link.resolve().is_relative_to(target.resolve()):
            raise CodeNotReadable(
                f"code.git: {url} has the link {path}, which leads out of it, to {leads_to}."
            )
