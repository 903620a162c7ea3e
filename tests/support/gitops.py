"""How GitOps tools judge an object: kstatus' rules for custom resources, and Argo CD's health scripts."""

from __future__ import annotations

from typing import Any

import yaml
from lupa import lua51

from tests.support.published import ROOT

Json = dict[str, Any]
ARGO_CD = ROOT / "examples" / "gitops" / "argocd-cm.yaml"


def kstatus(item: Json) -> str:
    """Return what sigs.k8s.io/cli-utils/pkg/kstatus says of an object of a kind that it does not know."""
    if "deletionTimestamp" in item["metadata"]:
        return "Terminating"
    status = item.get("status", {})
    if status.get("observedGeneration", item["metadata"]["generation"]) != item["metadata"]["generation"]:
        return "InProgress"
    conditions = {it["type"]: it["status"] for it in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "Current" if conditions.get("Ready", "True") == "True" else "InProgress"


def argo_cd(item: Json) -> tuple[str, str]:
    """Return status and message that the published health script gives."""
    scripts = yaml.safe_load(ARGO_CD.read_text())["data"]
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    script = scripts["resource.customizations.health.mlpools.dev_" + item["kind"]]
    judge = lua.eval(f"function(obj) {script} end")
    health = judge(lua.table_from(item, recursive=True))
    return str(health["status"]), str(health["message"])
