"""A notebook as admission sees it: a node, and perhaps further ones, of which nobody takes any from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpools_operator.api.v1alpha1 import InvalidSpec, NotebookRuntimeSpec, parse
from mlpools_operator.domain import naming, paused, times
from mlpools_operator.domain.attempt import stranded
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook import cluster, holder, ingress
from mlpools_operator.domain.notebook.children import KIND
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.observed import JobChild, PodChild, Resource
from mlpools_operator.domain.pool import holding
from mlpools_operator.domain.pool.capacity import Finding
from mlpools_operator.domain.pool.ledger import Brings, Candidate


def candidate(
    notebook: Resource, sets: Sequence[JobChild], pods: Sequence[PodChild], now: float, defaults: Defaults
) -> Candidate | None:
    """Return the notebook as admission sees it; None if it holds no node and asks for none.

    Args:
        notebook: as it stands.
        sets: its StatefulSets, and the Jobs of its further nodes.
        pods: its pods.
        now: seconds since the epoch.
        defaults: of the operator.
    """
    draft = Draft(notebook, now)
    owned = [child for child in sets if child.meta.owner == notebook.meta.uid]
    held = holding.nodes_of(owned, pods)
    blank = Candidate(
        uid=notebook.meta.uid,
        kind=KIND,
        namespace=notebook.meta.namespace,
        name=notebook.meta.name,
        nodes=0,
        priority=0,
        created=notebook.meta.created,
        held=held,
        pods=holding.living(pods),
        ending=stranded.look(pods),
        attempt=draft.before.attempt + (not draft.admitted),
        generation=notebook.meta.generation,
        preemptible=False,
        keeps=True,
        finding=_finding(draft, pods),
        blocked="Stopped",
    )
    try:
        spec = parse(KIND, notebook.spec)
    except InvalidSpec:
        spec = None
    refused = spec is None or ingress.refusal(spec, defaults) is not None
    if notebook.meta.deleting or (refused and not draft.admitted):
        return blank if held else None
    if draft.admitted:
        return replace(
            blank,
            nodes=1,
            most=_most(notebook, spec, draft, owned),
            size=1 + cluster.held(draft.before),
            held=_held(draft, owned, pods),
            admitted=True,
            admitted_at=draft.admitted_at,
            stopping=draft.stop is not None,
            blocked="",
            freed=tuple(sorted(it.finished for it in pods if it.finished)),
            brings=_brings(spec),
        )
    assert spec is not None
    rests = spec.suspend or draft.rest is not None
    if rests and not held:
        return None
    blocked = "Stopped" if rests else paused.CONDITION if paused.asked(notebook.meta) else ""
    if draft.before.run is not None:
        blocked = blocked or holder.IN_USE
    ahead = draft.before.queue.ahead if draft.before.queue else 0
    return replace(blank, nodes=1, blocked=blocked, shown_ahead=ahead, brings=_brings(spec))


def _most(
    notebook: Resource, spec: NotebookRuntimeSpec | None, draft: Draft, owned: Sequence[JobChild]
) -> int:
    """Return the nodes up to which it may grow now, its own among them."""
    made = next((it for it in owned if it.kind == "StatefulSet"), None)
    if spec is None or paused.asked(notebook.meta):
        return 1 + cluster.held(draft.before)
    return 1 + cluster.wanted(spec, made)


def _held(draft: Draft, owned: Sequence[JobChild], pods: Sequence[PodChild]) -> int:
    """Return the nodes that an admitted notebook keeps from others: those that it has, or was promised.

    Its own pod is never there twice. Further nodes that were given up may be ending beside new ones.
    """
    further = [pod for pod in pods if pod.meta.labels.get(naming.PART) == naming.NODE]
    jobs = [child for child in owned if child.kind == "Job"]
    made = [it for it in jobs if it.attempt == draft.before.attempt and not it.meta.deleting]
    uids = {it.meta.uid for it in made}
    present = holding.nodes_of(made, [pod for pod in further if pod.job in uids])
    own = holding.nodes_of(
        [child for child in owned if child.kind != "Job"], [pod for pod in pods if pod not in further]
    )
    unmade = max(0, cluster.held(draft.before) - present)
    return max(1, own) + holding.nodes_of(jobs, further) + unmade


def _brings(spec: NotebookRuntimeSpec | None) -> Brings:
    if spec is None:
        return Brings()
    return Brings(
        image=spec.runtime.image or "",
        volumes=tuple(volume.name for volume in spec.volumes),
        mounts=tuple(mount.mount_path for mount in spec.volume_mounts),
        packages=spec.runtime.packages,
    )


def _finding(draft: Draft, pods: Sequence[PodChild]) -> Finding | None:
    """Return what the newest start that looked for a machine found."""
    before = draft.before
    placed = [pod.scheduled for pod in pods if pod.attempt == before.attempt and pod.scheduled]
    if draft.admitted and placed:
        return Finding(before.instance_family, max(placed))
    lack = before.lacked_capacity
    if lack is None:
        return None
    return Finding(lack.instance_family, times.seconds(lack.time), lack.message)
