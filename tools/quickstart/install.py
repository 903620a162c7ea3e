"""Put the operator into a cluster with the Helm chart, as a user does."""

from __future__ import annotations

from pathlib import Path

from tools.kubectl import Kubectl

CHART = Path("charts/mlpools")
NAMESPACE = "mlpools-system"
RELEASE = "mlpools"
#: The chart's name of each image.
VALUES = {"operator": "operator", "runtime": "runtime", "runtime-full": "runtimeFull"}
#: On one machine a standby is lost together with the leader, and takes the memory of a pod that trains.
LOCAL_REPLICAS = 1
#: A person watches one job of half a minute; the default of ten is for clusters with thousands.
PROGRESS_SECONDS = 2


def operator(cluster: Kubectl, images: dict[str, str], *, replicas: int | None = None) -> None:
    """Install or upgrade the release and wait until the operator is ready.

    Args:
        cluster: where to.
        images: reference of the image by target (``operator``, ``runtime``, and ``runtime-full`` if there is
            one); empty = the chart's own.
        replicas: operators; None = as many as the chart says.

    Raises:
        ToolError: Helm refused, or the operator did not become ready.
    """
    values = [f"settings.progressSeconds={PROGRESS_SECONDS}"]
    if images:
        values.append(f"image.{VALUES['runtime-full']}.repository=")
    for target, reference in images.items():
        repository, _, tag = reference.rpartition(":")
        values += [f"image.{VALUES[target]}.repository={repository}", f"image.{VALUES[target]}.tag={tag}"]
    options = [part for value in values for part in ("--set-string", value)]
    if replicas is not None:
        options += ["--set", f"replicas={replicas}"]
    cluster.helm(
        "upgrade", "--install", RELEASE, str(CHART), f"--namespace={NAMESPACE}", "--create-namespace",
        "--wait", "--timeout=180s", *options,
    )  # fmt: skip
