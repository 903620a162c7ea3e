"""Where a notebook may connect to: what its spec lists, and what every notebook of its pool needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

from mlpools_operator.api.v1alpha1 import ComputePoolSpec, InvalidSpec, NotebookRuntimeSpec, parse
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.notebook.children import KIND
from mlpools_operator.domain.notebook.starting import Hindrance
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.observed import Resource
from mlpools_operator.domain.pods import egress, network_profiles
from mlpools_operator.domain.pods.egress import Known
from mlpools_operator.domain.pool import families


def names(notebook: Resource, pool: Resource | None, now: float, defaults: Defaults) -> Collection[str]:
    """Return the names that the NetworkPolicies of a notebook and its run need the addresses of.

    There are none while neither has a node or is about to have one.

    Args:
        notebook: as it stands.
        pool: that it names.
        now: seconds since the epoch.
        defaults: of the operator.
    """
    draft = Draft(notebook, now)
    if pool is None or notebook.meta.deleting or not (draft.admitted or draft.before.run):
        return ()
    try:
        spec, of_pool = parse(KIND, notebook.spec), families.read(pool.spec, defaults.families)
    except InvalidSpec:
        return ()
    if not network_profiles.is_isolated(of_pool.network):
        return ()
    return {
        host for host, _ in egress.targets(egress.listed(spec), of_pool.packages) if not _is_address(host)
    }


def hindrance(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, known: Known) -> Hindrance:
    """Return what keeps the list in the spec from holding; without a reason nothing does."""
    if not network_profiles.is_isolated(pool.network):
        open_to_all = "Its pool isolates nobody (network.isolation), so it may connect to anywhere."
        return Hindrance("NotIsolated", open_to_all) if spec.egress else Hindrance("", "")
    found = egress.closed(egress.listed(spec), pool.packages, known)
    words = f"{found} It is looked up again all the time."
    return Hindrance("NotResolved", words) if found else Hindrance("", "")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
