"""What a pod needs that runs an image of the job's own, which knows nothing of mlpools.

An init container with the pool's image, or the operator's small one, writes mlpools as one file into a
volume, and the main container starts from there. Whatever Python 3.9 or newer the image has runs the
supervisor; an image without one runs ``script.command`` bare.
"""

from __future__ import annotations

from mlpools.contract.tasks import Task
from mlpools.contract.wiring import INJECTED_FOLDER, INJECTED_START, TERMINATION_LOG
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, PodsSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import restricted
from mlpools_operator.domain.pods.work import Work

_NAME = "mlpools"
_VOLUME = f"{OWN_VOLUME_PREFIX}injected"


def is_needed(spec: PodsSpec, pool: ComputePoolSpec, defaults: Defaults) -> bool:
    """Whether the job names an image of its own."""
    ours = (None, pool.runtime.image, defaults.runtime_image, defaults.runtime_full_image)
    return spec.runtime.image not in ours


def command(work: Work, task: Task) -> list[str]:
    """Return what the main container runs: Python if there is one, else what runs bare."""
    return ["sh", f"{INJECTED_FOLDER}/{INJECTED_START}", str(task.nodes), task.coordinator, *work.bare]


def init_containers(
    pool: ComputePoolSpec, defaults: Defaults, resources: Object, *, git: bool, uv: bool
) -> list[Object]:
    """Return the container that writes mlpools into the volume.

    Args:
        pool: of the job.
        defaults: of the operator.
        resources: of the main container, whose place it has for a moment.
        git: whether code is fetched from a repository.
        uv: whether packages are installed.
    """
    brought = ["--git"] * git + ["--uv"] * uv
    return [
        {
            "name": _NAME,
            "image": pool.runtime.image or defaults.runtime_image,
            "imagePullPolicy": pool.runtime.image_pull_policy or defaults.image_pull_policy,
            "command": ["python", "-m", "mlpools.runtime.inject", INJECTED_FOLDER, *brought],
            "resources": resources,
            "terminationMessagePath": TERMINATION_LOG,
            "securityContext": restricted.container(),
            "volumeMounts": [{"name": _VOLUME, "mountPath": INJECTED_FOLDER}],
        }
    ]


def volumes() -> list[Object]:
    """Return the volume that it is written into."""
    return [{"name": _VOLUME, "emptyDir": {}}]


def mounts() -> list[Object]:
    """Return where the main container has it."""
    return [{"name": _VOLUME, "mountPath": INJECTED_FOLDER, "readOnly": True}]
