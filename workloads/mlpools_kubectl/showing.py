"""``top`` and ``queue``: what there is, drawn or as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from mlpools_kubectl import kinds, line, names, screen, usage
from mlpools_kubectl.cluster import Cluster, Object, Objects
from mlpools_kubectl.failures import Forbidden
from mlpools_operator.cluster.kinds import OURS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_BAR = 12


def top(cluster: Cluster, pool: str | None, *, json: bool) -> None:
    """Show pools, who has how much of them, and what holds their nodes."""
    found, work, partial = _read(cluster, pool)
    pools, shares, holders = usage.pools(found), usage.shares(work), usage.holders(work)
    if json:
        lists = {"pools": _plain(pools), "shares": _plain(shares), "holders": _plain(holders)}
        screen.as_json({**lists, "partial": bool(partial)})
        return
    out = screen.console()
    out.print(_pools(pools, bars=out.is_terminal) if pools else "There is no pool.")
    if shares:
        out.print()
        out.print(_shares(shares))
    if holders:
        out.print()
        out.print(_holders(holders))
    _say(partial)


def queue(cluster: Cluster, pool: str | None, *, json: bool) -> None:
    """Show who waits for which pool, and why."""
    found, work, partial = _read(cluster, pool)
    lines = [line.line(it, work) for it in found]
    if json:
        screen.as_json({"queues": _plain(lines), "partial": bool(partial)})
        return
    out = screen.console()
    if places := [place for it in lines for place in it.places]:
        out.print(_places(places))
        said = [f"{place.namespace}/{place.name}: {place.message}" for place in places if place.message]
        if said:
            out.print("", *said, sep="\n")
    elif not any(it.unnamed for it in lines):
        out.print(f"Nothing waits for {f'pool {pool}' if pool else 'any pool'}.")
    for it in lines:
        if it.unnamed:
            out.print(f"{it.unnamed} more wait for pool {it.pool}, whose names it does not tell.")
    _say(partial)


def _read(cluster: Cluster, pool: str | None) -> tuple[Objects, Objects, str]:
    """Return pools, what wants or holds their nodes, and in which words that is not all."""
    found = [names.find(cluster, pool, (kinds.POOL,))] if pool else cluster.list(OURS[kinds.POOL])
    partial = ""
    try:
        work = _work(cluster, everywhere=True)
    except Forbidden:
        work = _work(cluster, everywhere=False)
        partial = f"Jobs and notebooks are those of namespace {cluster.namespace}: you may not list others."
    named = {it["metadata"]["name"] for it in found}
    return found, [it for it in work if not pool or it["spec"]["computePool"] in named], partial


def _work(cluster: Cluster, *, everywhere: bool) -> Objects:
    return [it for kind in kinds.WORK for it in cluster.list(OURS[kind], everywhere=everywhere)]


def _plain(listed: Sequence[DataclassInstance]) -> list[Object]:
    return [dataclasses.asdict(it) for it in listed]


def _pools(pools: list[usage.Pool], *, bars: bool) -> Table:
    columns = ["POOL", "STATE", "SHAPE", "ACTIVE/IDLE/MAX", "QUEUED"]
    rows: list[list[RenderableType]] = [
        [it.name, screen.state(it.state), it.shape, f"{it.active}/{it.idle}/{it.most}", str(it.queued)]
        for it in pools
    ]
    if bars:
        columns.insert(4, "USE")
        for row, it in zip(rows, pools, strict=True):
            row.insert(4, ProgressBar(total=it.most, completed=it.active, width=_BAR))
    return screen.table(columns, rows)


def _shares(shares: list[usage.Share]) -> Table:
    rows = [
        [it.pool, it.namespace, str(it.nodes), str(it.jobs), str(it.notebooks), str(it.queued)]
        for it in shares
    ]
    return screen.table(["POOL", "NAMESPACE", "NODES", "JOBS", "NOTEBOOKS", "QUEUED"], rows)


def _holders(holders: list[usage.Holder]) -> Table:
    rows: list[list[RenderableType]] = [
        [
            it.pool,
            it.namespace,
            it.kind,
            it.name,
            str(it.nodes),
            screen.state(it.phase),
            screen.age(it.since),
            it.progress,
        ]
        for it in holders
    ]
    columns = ["POOL", "NAMESPACE", "KIND", "NAME", "NODES", "PHASE", "SINCE", "PROGRESS"]
    return screen.table(columns, rows)


def _places(places: list[line.Place]) -> Table:
    rows: list[list[RenderableType]] = [
        [
            it.pool,
            str(it.position or "-"),
            it.namespace,
            it.kind,
            it.name,
            str(it.nodes),
            str(it.priority),
            screen.age(it.since),
            it.reason,
        ]
        for it in places
    ]
    columns = ["POOL", "#", "NAMESPACE", "KIND", "NAME", "NODES", "PRIORITY", "WAITS", "REASON"]
    return screen.table(columns, rows)


def _say(note: str) -> None:
    if note:
        screen.console(err=True).print(note)


def changed(found: Object, words: str, *, json: bool) -> None:
    """Show an object that a command has changed, and say what follows."""
    if json:
        screen.as_json(found)
    else:
        screen.console().print(words)
