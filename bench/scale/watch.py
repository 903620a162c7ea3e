"""Objects as they are, and then as they change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import urllib3

from tests.support.kube import Kube, Object


def watch(kube: Kube, path: str, **query: str) -> Iterator[tuple[str, Object]]:
    """Yield the objects of a list, and then each event, until the watch ends or has missed something.

    Args:
        kube: whose objects.
        path: of the list at the API server.
        **query: such as a label selector.

    Yields:
        The event's type, ADDED for what was there already, and the object.
    """
    listed: dict[str, Any] = kube.request("GET", path, query=query)
    for item in listed["items"]:
        yield "ADDED", item
    pool = urllib3.PoolManager(ca_certs=str(kube.ca), retries=False, timeout=None)
    answer = pool.request(
        "GET",
        f"{kube.server}{path}",
        fields={**query, "watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"]},
        headers={"Authorization": f"Bearer {kube.token}"},
        preload_content=False,
    )
    for line in answer:
        event = json.loads(line)
        if event["type"] == "ERROR":
            return
        yield event["type"], event["object"]
