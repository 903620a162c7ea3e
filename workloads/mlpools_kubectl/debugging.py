"""``debug``: all that is known about one object, in one file that holds no secret."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from mlpools import __version__
from mlpools_kubectl import goals, pods, redaction
from mlpools_kubectl.bundle import Bundle
from mlpools_kubectl.cluster import Cluster, Object, Objects
from mlpools_kubectl.failures import Failure, NotFound
from mlpools_kubectl.kinds import POOL
from mlpools_kubectl.names import called
from mlpools_kubectl.screen import said
from mlpools_operator.cluster.kinds import CHILDREN, EVENT, OURS, SECRET

_OPERATOR = "app.kubernetes.io/name=mlpools,app.kubernetes.io/component=operator"
_LINES = {"tailLines": "5000", "limitBytes": str(8 << 20)}
_OPERATOR_LINES = {"tailLines": "50000"}


def debug(cluster: Cluster, found: Object, path: Path | None, operator_namespace: str) -> None:
    """Write the bundle and say where it is, and what is not in it."""
    meta = found["metadata"]
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = path or Path(f"mlpools-debug-{meta['name']}-{stamp}.tar.gz")
    notes: list[str] = []
    pool = _pool(cluster, found, notes)
    children = list(_children(cluster, found, notes))
    objects = [found, *([pool] if pool else ()), *children]
    values = [*_secrets(cluster, objects, meta["namespace"], notes), *redaction.literals(objects)]
    redactor = redaction.Redactor(values)
    try:
        bundle = Bundle(target, redactor)
    except OSError as error:
        raise Failure(f"{target} cannot be written: {error.strerror}.") from None
    with bundle:
        for it in objects:
            bundle.object(f"objects/{it['kind']}-{it['metadata']['name']}.yaml", it)
        bundle.text("events.txt", _events(cluster, objects, notes))
        for name, text in _logs(cluster, children, notes):
            bundle.text(f"logs/{name}", text)
        bundle.text("operator.log", "\n".join(_operator(cluster, objects, operator_namespace, notes)))
        bundle.text("summary.txt", _summary(cluster, found, notes))
    click.echo(
        f"{target} has what is known about {called(found)}, without credentials: look before you share it."
    )
    for note in notes:
        click.echo(f"kubectl mlpools: {note}", err=True)


def _pool(cluster: Cluster, found: Object, notes: list[str]) -> Object | None:
    try:
        return cluster.find(OURS[POOL], found["spec"]["computePool"])
    except Failure as failure:
        notes.append(f"Its pool is missing: {failure.message}")
        return None


def _children(cluster: Cluster, found: Object, notes: list[str]) -> Iterator[Object]:
    for kind in CHILDREN:
        try:
            yield from pods.children(cluster, kind, found)
        except Failure as failure:
            notes.append(f"Objects of the kind {kind} are missing: {failure.message}")


def _secrets(cluster: Cluster, objects: Objects, namespace: str, notes: list[str]) -> Iterator[str]:
    """Yield the values of all Secrets that the objects name, so that they can be taken out."""
    for name in sorted(redaction.named(objects) - {""}):
        try:
            data = cluster.get(SECRET, name, namespace).get("data") or {}
        except NotFound:
            continue
        except Failure as failure:
            notes.append(
                f"You may not read Secret {name}, so its values are found by their looks only: read the logs "
                f"before you share the file. ({failure.message})"
            )
            continue
        for value in data.values():
            yield value
            yield base64.b64decode(value).decode(errors="replace")


def _events(cluster: Cluster, objects: Objects, notes: list[str]) -> str:
    uids = {it["metadata"]["uid"] for it in objects}
    namespaces = {it["metadata"].get("namespace", "default") for it in objects}
    found: Objects = []
    for namespace in sorted(namespaces):
        try:
            found += cluster.list(EVENT, namespace=namespace)
        except Failure as failure:
            notes.append(f"Events of namespace {namespace} are missing: {failure.message}")
    about = [it for it in found if said(it, "involvedObject", "uid") in uids]
    return "".join(sorted(_event(it) for it in about))


def _event(it: Object) -> str:
    when = it.get("lastTimestamp") or it.get("eventTime") or it["metadata"]["creationTimestamp"]
    of = it["involvedObject"]
    count = f" (x{it['count']})" if it.get("count", 1) > 1 else ""
    what = f"{it.get('type', '')} {it.get('reason', '')}{count}: {it.get('message', '')}"
    return f"{when} {of.get('kind', '')}/{of.get('name', '')} {what}\n"


def _logs(cluster: Cluster, children: Objects, notes: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the logs of all containers that have one, also of those that were started again."""
    for pod in (it for it in children if it["kind"] == "Pod"):
        name = pod["metadata"]["name"]
        for status in _containers(pod):
            state, container = status.get("state") or {}, status["name"]
            if "running" in state or "terminated" in state:
                yield from _log(cluster, pod, container, f"{name}-{container}.log", {}, notes)
            if status.get("restartCount"):
                before = {"previous": "true"}
                yield from _log(cluster, pod, container, f"{name}-{container}-before.log", before, notes)


def _containers(pod: Object) -> Iterator[Object]:
    for field in ("initContainerStatuses", "containerStatuses"):
        yield from said(pod, "status", field) or ()


def _log(
    cluster: Cluster, pod: Object, container: str, name: str, query: dict[str, str], notes: list[str]
) -> Iterator[tuple[str, str]]:
    try:
        parts = list(cluster.log(pod, {**_LINES, **query, "container": container}))
    except Failure as failure:
        notes.append(f"logs/{name} is missing: {failure.message}")
        return
    yield name, b"".join(parts).decode(errors="replace")


def _operator(cluster: Cluster, objects: Objects, namespace: str, notes: list[str]) -> Iterator[str]:
    """Yield the operator's lines about the objects, oldest first."""
    try:
        found = cluster.list(CHILDREN["Pod"], namespace=namespace, labels=_OPERATOR)
        if not found:
            notes.append(
                f"No operator runs in namespace {namespace}: --operator-namespace says where it does."
            )
        logs = [b"".join(cluster.log(it, _OPERATOR_LINES)).decode(errors="replace") for it in found]
    except Failure as failure:
        notes.append(f"The operator's lines are missing: {failure.message}")
        return
    lines = (line for log in logs for line in log.splitlines())
    yield from sorted(about(lines, objects))


def about(lines: Iterable[str], objects: Objects) -> Iterator[str]:
    """Yield lines of the operator's log that are about one of the objects."""
    keys = {(it["kind"], it["metadata"].get("namespace", ""), it["metadata"]["name"]) for it in objects}
    for line in lines:
        try:
            record = json.loads(line)
            key = (record.get("kind", ""), record.get("namespace", ""), record.get("name", ""))
        except (ValueError, AttributeError):  # written for a terminal
            found = any("/".join(filter(None, key)) in line.split() for key in keys)
        else:
            found = key in keys
        if found:
            yield line


def _summary(cluster: Cluster, found: Object, notes: list[str]) -> str:
    made = time.strftime("%FT%TZ", time.gmtime())
    versions = f"Kubernetes {cluster.version()}, kubectl mlpools {__version__}, {made}."
    return "\n".join([goals.standing(found), versions, *notes]) + "\n"
