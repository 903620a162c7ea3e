"""A web server of this machine that serves files and Git repositories, perhaps only to who has a password."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend
from dulwich.web import make_wsgi_chain

_ANYBODY = b"Test <test@example.test>"


class Web:
    """Serves ``folder/NAME`` at ``/files/NAME`` and repositories at ``/git/NAME``.

    Attributes:
        asked: paths of all requests.
        status: answered to everything if it is not empty, such as ``503 Busy``.
    """

    def __init__(self, folder: Path, user: str = "", password: str = "", host: str = "127.0.0.1") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.asked: list[str] = []
        self.status = ""
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._backend = DictBackend({})
        self._git = make_wsgi_chain(self._backend)
        self._server = make_server(host, 0, self._serve, WSGIServer, _Quiet)
        self.url = f"http://{host}:{self._server.server_port}"

    def __enter__(self) -> Web:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        for repository in self._backend.repos.values():
            repository.close()

    def file(self, name: str, content: bytes) -> str:
        """Put a file there and return its URL."""
        (self.folder / name).write_bytes(content)
        return f"{self.url}/files/{name}"

    def repository(self, name: str) -> GitRepository:
        """Make an empty repository there."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        repo = Repo.init_bare(str(folder))
        self._backend.repos[f"/{name}"] = repo
        return GitRepository(repo, f"{self.url}/git/{name}")

    def _serve(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if self.status:
            start(self.status, [])
            return [b""]
        if self._login and environ.get("HTTP_AUTHORIZATION") != f"Basic {self._login}":
            start("401 Unauthorized", [("WWW-Authenticate", 'Basic realm="test"')])
            return [b""]
        if path.startswith("/git/"):
            environ["PATH_INFO"] = path.removeprefix("/git")
            # The server's own input does not end where the request does.
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            answer: Iterable[bytes] = self._git(environ, start)
            return answer
        file = self.folder / path.removeprefix("/files/")
        if not file.is_file():
            start("404 Not Found", [])
            return [b""]
        content = file.read_bytes()
        start("200 OK", [("Content-Length", str(len(content)))])
        return [content]


class GitRepository:
    """A repository whose commits are written by tests."""

    def __init__(self, repo: Repo, url: str) -> None:
        self._repo, self.url = repo, url

    def commit(
        self, files: Mapping[str, str], branch: str = "main", links: Mapping[str, str] | None = None
    ) -> str:
        """Make a commit of exactly these files the head of a branch and return its digits."""
        modes = {path: (0o100755 if path.endswith(".sh") else 0o100644, text) for path, text in files.items()}
        modes |= {path: (0o120000, goal) for path, goal in (links or {}).items()}
        commit = Commit()
        commit.tree = self._tree(modes)
        commit.author = commit.committer = _ANYBODY
        commit.commit_time = commit.author_time = 1_700_000_000
        commit.commit_timezone = commit.author_timezone = 0
        commit.message = b"test"
        head = f"refs/heads/{branch}".encode()
        commit.parents = [self._repo.refs[head]] if head in self._repo.refs else []  # type: ignore[index]
        self._repo.object_store.add_object(commit)
        self._repo.refs[head] = commit.id  # type: ignore[index]
        return commit.id.decode()

    def tag(self, name: str, commit: str) -> None:
        """Make an annotated tag."""
        tag = Tag()
        tag.tagger, tag.message, tag.name = _ANYBODY, b"test", name.encode()
        tag.tag_time, tag.tag_timezone = 1_700_000_000, 0
        tag.object = (Commit, commit.encode())
        self._repo.object_store.add_object(tag)
        self._repo.refs[f"refs/tags/{name}".encode()] = tag.id  # type: ignore[index]

    def _tree(self, entries: Mapping[str, tuple[int, str]]) -> bytes:
        tree, folders = Tree(), dict[str, dict[str, tuple[int, str]]]()
        for path, (mode, text) in entries.items():
            head, _, rest = path.partition("/")
            if rest:
                folders.setdefault(head, {})[rest] = (mode, text)
                continue
            blob = Blob.from_string(text.encode())
            self._repo.object_store.add_object(blob)
            tree.add(head.encode(), mode, blob.id)
        for name, inside in folders.items():
            tree.add(name.encode(), 0o040000, self._tree(inside))  # type: ignore[arg-type]
        self._repo.object_store.add_object(tree)
        return tree.id


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass
