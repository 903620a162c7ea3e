"""An object store in memory that speaks enough of S3's protocol and of HTTP, and misbehaves when told to."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

MODIFIED = "Sun, 22 Nov 2026 10:00:00 GMT"


@dataclasses.dataclass
class Fault:
    """What happens to the next ``times`` requests of a method, or of any.

    Attributes:
        key: only to those whose path has this in it; a listing's has no key.
        status: answer this instead of doing anything.
        code: S3's name of the error.
        cut: send only so many bytes of the body, then break the connection.
        lose_answer: do what was asked, then break the connection.
        before: called before the request is looked at.
    """

    method: str = ""
    key: str = ""
    times: int = 1
    status: int = 0
    code: str = ""
    cut: int = -1
    lose_answer: bool = False
    before: Callable[[], None] | None = None


@dataclasses.dataclass
class Request:
    method: str
    path: str
    range: str
    if_match: str
    authorization: str

    @property
    def key_id(self) -> str:
        """Whose key signed it."""
        signed = re.search(r"Credential=([^/]+)/", self.authorization)
        return signed[1] if signed else ""


class ObjectStore:
    """Serves ``objects``: ``bucket/key`` -> content. Use it as a context manager.

    Attributes:
        url: of its end point.
        asked: all requests so far.
        faults: what goes wrong, in the order in which it does.
        honours_once: whether ``If-None-Match`` is heeded.
        keeps_attributes: whether ``x-amz-meta-`` headers are kept.
        etags: whether objects have ETags; without, only a time.
        lists_bare_etags: whether ETags have no quotation marks in listings, as Azure's have none.
        heeds_if_match: whether a reader of another version is refused.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self.buckets = {"bucket"}
        self.asked: list[Request] = []
        self.faults: list[Fault] = []
        self.honours_once = True
        self.keeps_attributes = True
        self.etags = True
        self.lists_bare_etags = False
        self.heeds_if_match = True
        self._uploads: dict[str, dict[int, bytes]] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "top-secret",
            "AWS_REGION": "us-east-1",
        }

    def __enter__(self) -> ObjectStore:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def etag(self, name: str) -> str:
        return f'"{hashlib.md5(self.objects[name]).hexdigest()}"'

    def _fault(self, asked: Request) -> Fault | None:
        for fault in self.faults:
            if fault.times and fault.method in ("", asked.method) and fault.key in asked.path:
                fault.times -= 1
                return fault
        return None

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        store = self

        class Handler(_Handler):
            pass

        Handler.store = store
        return Handler


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ObjectStore

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = urlsplit(self.path)
        asked = Request(
            self.command,
            unquote(parts.path),
            self.headers.get("Range", ""),
            self.headers.get("If-Match", ""),
            self.headers.get("Authorization", ""),
        )
        self.store.asked.append(asked)
        self.fault = self.store._fault(asked) or Fault()
        if self.fault.before:
            self.fault.before()
        if self.fault.status:
            return self._error(self.fault.status, self.fault.code)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        bucket, _, key = asked.path.strip("/").partition("/")
        if bucket not in self.store.buckets:
            return self._error(404, "NoSuchBucket")
        if "list-type" in query:
            return self._list(bucket, query.get("prefix", ""))
        if self.command == "POST" and "delete" in query:
            names = [unescape(it.decode()) for it in re.findall(rb"<Key>(.*?)</Key>", body)]
            for name in names:
                self.store.objects.pop(f"{bucket}/{name}", None)
            deleted = "".join(f"<Deleted><Key>{escape(it)}</Key></Deleted>" for it in names)
            return self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())
        if "uploads" in query or "uploadId" in query:
            return self._multipart(f"{bucket}/{key}", query, body)
        if self.command == "DELETE":
            self.store.objects.pop(f"{bucket}/{key}", None)
            return self._answer(204, b"")
        if self.command == "PUT":
            return self._put(f"{bucket}/{key}", body)
        return self._get(f"{bucket}/{key}")

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - the server's words

    def _get(self, name: str) -> None:
        if name not in self.store.objects:
            return self._error(404, "NoSuchKey")
        content, etag = self.store.objects[name], self.store.etag(name)
        wanted = self.headers.get("If-Match")
        if wanted and self.store.heeds_if_match and wanted != etag:
            return self._error(412, "PreconditionFailed")
        headers = {"Last-Modified": MODIFIED, **self.store.attributes.get(name, {})}
        if self.store.etags:
            headers["ETag"] = etag
        if part := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            start, stop = int(part[1]), min(int(part[2]) + 1, len(content))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
            return self._answer(206, content[start:stop], headers)
        return self._answer(200, content, headers)

    def _put(self, name: str, body: bytes) -> None:
        if self.store.honours_once and self.headers.get("If-None-Match") and name in self.store.objects:
            return self._error(412, "PreconditionFailed")
        self.store.objects[name] = body
        if self.store.keeps_attributes:
            self.store.attributes[name] = {
                key: value for key, value in self.headers.items() if key.lower().startswith("x-amz-meta-")
            }
        return self._answer(200, b"", {"ETag": self.store.etag(name)})

    def _multipart(self, name: str, query: dict[str, str], body: bytes) -> None:
        if "uploads" in query:
            self.store._uploads[name] = {}
            return self._answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{len(name)}</UploadId>"
                "</InitiateMultipartUploadResult>".encode(),
            )
        if "partNumber" in query:
            self.store._uploads[name][int(query["partNumber"])] = body
            return self._answer(200, b"", {"ETag": f'"{query["partNumber"]}"'})
        parts = self.store._uploads.pop(name)
        self.store.objects[name] = b"".join(parts[number] for number in sorted(parts))
        answer = f"<CompleteMultipartUploadResult><ETag>{escape(self.store.etag(name))}</ETag>"
        return self._answer(200, f"{answer}</CompleteMultipartUploadResult>".encode())

    def _list(self, bucket: str, prefix: str) -> None:
        marks = '"' if self.store.lists_bare_etags else ""
        names = sorted(name for name in self.store.objects if name.startswith(f"{bucket}/{prefix}"))
        entries = "".join(
            f"<Contents><Key>{escape(name.partition('/')[2])}</Key><Size>{len(self.store.objects[name])}</Size>"
            f"<LastModified>2026-11-22T10:00:00.000Z</LastModified><ETag>{escape(self.store.etag(name).strip(marks))}</ETag>"
            "</Contents>"
            for name in names
        )
        self._answer(200, f"<ListBucketResult>{entries}</ListBucketResult>".encode())

    def _error(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        if self.fault.lose_answer:
            return self._break()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.fault.cut >= 0:
            self.wfile.write(body[: self.fault.cut])
            self.wfile.flush()
            return self._break()
        self.wfile.write(body)
        return None

    def _break(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the tests read ``asked``."""
