"""A notebook whose image starts a program of its own: mlpools watches it from a container beside it.

The image knows nothing of mlpools, and without a ``command`` nobody here knows what it starts, so the
supervisor cannot be its first process. A sidecar sees the pod's processes and connections instead. It starts
first, so a workspace that cannot be written is told before the program starts; it gets no variable, Secret or
token of the notebook's; and what it takes is taken off the node's share of the program.
"""

from __future__ import annotations

from dataclasses import replace

from mlpools.contract.tasks import Notebook
from mlpools.contract.wiring import NOTEBOOK_ENV, STATUS_PORT, TERMINATION_LOG, WORKSPACE
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, NotebookRuntimeSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain import quantities
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import container, injection, restricted
from mlpools_operator.domain.pool.families import Family

NAME = "mlpools-watch"
_CPU, _MEMORY = "100m", "64Mi"
_NOTHING = f"{OWN_VOLUME_PREFIX}nothing"
#: Where Kubernetes puts a service account's token into a container that has nothing there.
API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder
#: A slow machine may take a minute to start it.
_START_SECONDS = 60


def is_needed(spec: NotebookRuntimeSpec, pool: ComputePoolSpec, defaults: Defaults) -> bool:
    """Whether the notebook's image starts a program that nobody here knows."""
    return injection.is_needed(spec, pool, defaults) and not spec.command


def watched(
    pod: Object,
    told: Notebook,
    spec: NotebookRuntimeSpec,
    pool: ComputePoolSpec,
    family: Family,
    workspace: str,
    defaults: Defaults,
) -> Object:
    """Return the pod with the sidecar in it.

    Args:
        pod: its spec, with the one container of the program.
        told: what a supervisor would be told.
        spec: of the notebook.
        pool: that it runs in.
        family: of the machines.
        workspace: name of the workspace's volume.
        defaults: of the operator.
    """
    (main,) = pod["containers"]
    resources = {**quantities.resources(family.instance), **quantities.less(family.instance, _CPU, _MEMORY)}
    beside = replace(
        told, beside=True, gpus=family.instance.gpus, command=[], args=[], packages={}, required=[]
    )
    image = pool.runtime.image or defaults.runtime_image
    pull = pool.runtime.image_pull_policy or defaults.image_pull_policy
    main = {
        **main,
        "ports": [port for port in main["ports"] if port["containerPort"] != STATUS_PORT],
        "resources": {"requests": resources, "limits": resources},
    }
    # Nobody of ours is there to say what is absent; so the pod waits for it, as pods do.
    own = {volume.name: volume.plain() for volume in spec.volumes}
    volumes = [own.get(volume["name"], volume) for volume in pod["volumes"]]
    return {
        **pod,
        "shareProcessNamespace": True,
        "initContainers": [_sidecar(beside, image, pull, workspace)],
        "containers": [main],
        "volumes": [*volumes, {"name": _NOTHING, "emptyDir": {}}],
    }


def _sidecar(told: Notebook, image: str, pull: str, workspace: str) -> Object:
    resources = {"cpu": _CPU, "memory": _MEMORY}
    return {
        "name": NAME,
        "image": image,
        "imagePullPolicy": pull,
        "command": list(container.COMMAND),
        "restartPolicy": "Always",
        "env": [
            {"name": "PYTHONUNBUFFERED", "value": "1"},
            {"name": NOTEBOOK_ENV, "value": container.literal(told.to_json())},
        ],
        "ports": [{"name": "status", "containerPort": STATUS_PORT, "protocol": "TCP"}],
        "startupProbe": {
            "tcpSocket": {"port": STATUS_PORT},
            "periodSeconds": 1,
            "failureThreshold": _START_SECONDS,
        },
        "resources": {"requests": resources, "limits": resources},
        "terminationMessagePath": TERMINATION_LOG,
        "securityContext": restricted.container(),
        "volumeMounts": [
            {"name": workspace, "mountPath": WORKSPACE},
            {"name": _NOTHING, "mountPath": API_TOKEN, "readOnly": True},
        ],
    }
