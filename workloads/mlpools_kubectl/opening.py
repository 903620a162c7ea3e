"""``open``: a notebook in the browser of this machine, for as long as the command runs."""

from __future__ import annotations

import base64
import contextlib
import subprocess
from urllib.parse import quote, urlsplit

import click

from mlpools_kubectl import goals, pods, screen, streams, waiting
from mlpools_kubectl.cluster import Cluster, Object, info_of
from mlpools_kubectl.failures import Failure, NoCluster, NotFound
from mlpools_kubectl.kinds import NOTEBOOK
from mlpools_kubectl.names import called
from mlpools_kubectl.screen import said
from mlpools_operator.cluster.kinds import SECRET

_KEY = "token"
_LOOK_SECONDS = 5.0


def notebook(
    cluster: Cluster, found: Object, *, port: int, seconds: float, browser: bool, json: bool
) -> None:
    """Forward a port to a notebook and print the URL that opens it, until Ctrl-C or until it stops.

    Args:
        cluster: where it is.
        found: the notebook.
        port: of this machine; 0 = any that is free.
        seconds: to wait until it serves.
        browser: open it there, too.
        json: print JSON.
    """
    serves = waiting.wait(cluster, found, goals.goal(None, NOTEBOOK), seconds)
    assert serves is not None  # gone, it would not serve
    pod = pods.choose(pods.children(cluster, "Pod", serves), 0)
    if pod is None:
        raise Failure(f"{called(serves)} has no pod. {goals.standing(serves)}")
    token = _token(cluster, serves)
    with streams.forwarded(cluster, pod, serves["spec"]["port"], port) as (local, process):
        url = address(serves, local, token)
        if json:
            screen.as_json({"url": url})
        else:
            click.echo(f"{called(serves)} is open, until you press Ctrl-C here, at\n\n    {url}\n")
            click.echo("Whoever has this URL gets in.")
        if browser:
            click.launch(url)
        try:
            _attend(cluster, serves, pod, process)
        except KeyboardInterrupt:
            return
    raise Failure(f"The way to {called(found)} broke off. {_now(cluster, found)}")


def address(notebook: Object, port: int, token: str) -> str:
    """Return the URL at this machine: the path that the notebook has inside the cluster, and the token."""
    path = urlsplit(said(notebook, "status", "url") or "").path or "/"
    return f"http://127.0.0.1:{port}{path}?token={quote(token, safe='')}"


def _attend(cluster: Cluster, notebook: Object, pod: Object, process: streams.Process) -> None:
    """Return once nothing is forwarded: kubectl sees that a pod has gone at the next connection only."""
    there = True
    while there:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SECONDS)
            return
        with contextlib.suppress(NoCluster):  # who does not answer just now says nothing of the pod
            found = pods.children(cluster, "Pod", notebook)
            there = pod["metadata"]["uid"] in [it["metadata"]["uid"] for it in found]


def _token(cluster: Cluster, notebook: Object) -> str:
    name = said(notebook, "status", "tokenSecret")
    try:
        data = cluster.get(SECRET, name, notebook["metadata"]["namespace"]).get("data") or {}
        return base64.b64decode(data[_KEY]).decode().strip()
    except (NotFound, KeyError):
        raise NotFound(
            f"Secret {name} has no {_KEY}, with which {called(notebook)} lets you in: the operator makes one "
            "within two minutes, unless access.tokenSecret names yours."
        ) from None


def _now(cluster: Cluster, found: Object) -> str:
    info, meta = info_of(found), found["metadata"]
    now = cluster.find(info, meta["name"], meta["namespace"])
    return goals.standing(now) if now else "It was deleted."
