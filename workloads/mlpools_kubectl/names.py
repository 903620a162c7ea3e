"""Which object a person means by ``alice`` or ``nb/alice``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from mlpools_kubectl.cluster import Cluster, Object
from mlpools_kubectl.failures import Failure, Forbidden, NotFound
from mlpools_kubectl.kinds import POOL, WORK
from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.cluster.kinds import OURS

_NEAREST = 3


def split(text: str, among: Sequence[str]) -> tuple[Sequence[str], str]:
    """Return the kinds that may be meant, and the name.

    Raises:
        Failure: there is no such kind, or the command is not for it.
    """
    word, slash, name = text.partition("/")
    if not slash:
        return among, text
    for kind in among:
        it = KINDS[kind]
        if word.lower() in (*it.short_names, it.plural, kind.lower()):
            return (kind,), name
    known = ", ".join(f"{KINDS[kind].short_names[0]}/NAME ({kind})" for kind in among)
    raise NotFound(f"{text} is none of the kinds that this command is for: {known}.")


def nearest(name: str, there: Sequence[str]) -> str:
    """Return the end of the sentence that says that something is not there."""
    near = difflib.get_close_matches(name, there, n=_NEAREST, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are {', '.join(sorted(there)[:_NEAREST])}." if there else "; there is none at all."


def find(cluster: Cluster, text: str, among: Sequence[str] = WORK) -> Object:
    """Return the object that a person means.

    Args:
        cluster: where to look, in the person's namespace.
        text: a name, or a kind and a name.
        among: kinds that can be meant.

    Raises:
        Failure: there is none, with the nearest names; or there are several.
    """
    kinds, name = split(text, among)
    found, readable = [], []
    barred: Forbidden | None = None
    for kind in kinds:
        try:
            found += [it] if (it := cluster.find(OURS[kind], name)) else []
            readable.append(kind)
        except Forbidden as failure:  # pools lie in no namespace, so that many may not read them
            barred = failure
    if barred and not readable:
        raise barred
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join(f"{KINDS[it['kind']].short_names[0]}/{name}" for it in found)
        raise Failure(f"{name} names several objects: say {choices}.")
    there = [it["metadata"]["name"] for kind in readable for it in cluster.list(OURS[kind])]
    where = "" if readable == [POOL] else f" in namespace {cluster.namespace}"
    *first, last = readable
    what = f"{', '.join(first)} or {last}" if first else last
    raise NotFound(f"There is no {what} {name}{where}{nearest(name, there)}")


def called(found: Object) -> str:
    """Return how sentences name an object, such as ``NotebookRuntime alice``."""
    return f"{found['kind']} {found['metadata']['name']}"


def reference(found: Object) -> str:
    """Return how commands name it, such as ``nb/alice``."""
    return f"{KINDS[found['kind']].short_names[0]}/{found['metadata']['name']}"
