"""One JSON request at a time: threads, time-outs, counting and typed errors in one place.

The client library blocks, so every request runs in a pool of threads that has as many connections as
threads. Answers stay plain JSON: the library's model objects cost several times the memory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes import client

from mlpools_operator.cluster import connect, errors
from mlpools_operator.metrics import Metrics

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        verb: as in RBAC and audit logs: ``create``, ``patch``, ``update``, ``delete``, ``get``, ``list``.
        resource: for the counters: ``pods``, ``trainingjobs/status``.
    """

    verb: str
    resource: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON
    accept: str = JSON


_READS = frozenset({"get", "list"})
_METHODS = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}


class Transport:
    """Sends requests to the API server.

    Attributes:
        last_answer: monotonic time of the newest answer of any kind; 0 before the first.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        threads: int,
        read_seconds: tuple[float, float] = connect.READ_SECONDS,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """Connect.

        Args:
            metrics: counts requests.
            threads: requests under way at once.
            read_seconds: for a read, to connect and to answer.
            may_write: asked in the thread that sends, right before every write.

        Raises:
            ConnectError: there is no cluster to connect to.
        """
        self._client: client.ApiClient = connect.open_client(threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="api")
        self._metrics, self._read_seconds, self._may_write = metrics, read_seconds, may_write
        self.last_answer = 0.0

    async def send(self, request: Request) -> Any:
        """Return the answer's JSON.

        Raises:
            Fenced: a write that this process may not make; it was not sent.
            ClusterError: another of its kinds, by what the API server answered.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        code, body = await loop.run_in_executor(self._threads, self._send, request)
        self._metrics.api_requests.labels(request.verb, request.resource, str(code)).inc()
        self._metrics.api_seconds.labels(request.verb).observe(loop.time() - started)
        if code == 0:
            raise errors.Transient(body.decode())
        self.last_answer = time.monotonic()
        if not 200 <= code < 300:
            raise errors.from_answer(code, body)
        return json.loads(body)

    def close(self) -> None:
        """Close the connections; requests under way are waited for."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    def _send(self, request: Request) -> tuple[int, bytes]:
        """Return code and body; code 0 and the reason when there was no answer.

        Raises:
            Fenced: it is a write, and this process may not write.
        """
        api = self._client
        headers = {**api.default_headers, "Accept": request.accept, "Content-Type": request.content_type}
        query, seconds = dict(request.query), self._read_seconds
        writes = request.verb not in _READS
        if writes:
            seconds = connect.WRITE_SECONDS
            # The API server counts too: it goes on with the request of a client that was stopped.
            query["timeout"] = f"{seconds[1]:.0f}s"
        api.update_params_for_auth(headers, [], ["BearerToken"], request.path, "", None)
        url = f"{api.configuration.host}{request.path}"
        if query:
            url = f"{url}?{urlencode(query)}"
        # The library dumps whatever is JSON itself, a merge patch, too.
        body = request.body if request.content_type.endswith("json") else json.dumps(request.body)
        if writes and not self._may_write():
            raise errors.Fenced(f"{request.verb} {request.path} was not sent: another operator may lead.")
        try:
            answer = api.call_api(_METHODS[request.verb], url, headers, body, _request_timeout=seconds)
            return answer.status, answer.read()
        except (urllib3.exceptions.HTTPError, client.ApiException) as error:
            return 0, f"The API server did not answer {request.verb} {request.path}: {error}".encode()
