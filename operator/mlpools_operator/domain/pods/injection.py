"""What a pod needs that runs an image of the job's own, which knows nothing of mlpools.

An init container with the pool's image, or the operator's small one, writes mlpools as one file into a
volume, and the main container starts from there. Whatever Python 3.9 or newer the image has runs the
supervisor; an image without one runs ``script.command`` bare.
"""

from __future__ import annotations

from mlpools.contract import INJECTED_FOLDER, INJECTED_START, Task
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, TrainingJobSpec
from mlpools_operator.api.v1alpha1.volumes import OWN_VOLUME_PREFIX
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import restricted

_NAME = "mlpools"
_VOLUME = f"{OWN_VOLUME_PREFIX}injected"


def is_needed(spec: TrainingJobSpec, pool: ComputePoolSpec, defaults: Defaults) -> bool:
    """Whether the job names an image of its own."""
    ours = (None, pool.runtime.image, defaults.runtime_image, defaults.runtime_full_image)
    return spec.runtime.image not in ours


def command(task: Task) -> list[str]:
    """Return what the main container runs: Python if there is one, else the script's command itself."""
    section = task.spec
    # What comes before a command, and around it, takes Python.
    alone = not task.code and not task.packages and section.get("launcher", "none") == "none"
    plain = task.framework == "script" and alone
    bare = [*(section.get("command") or ()), *(section.get("args") or ())] if plain else []
    return ["sh", f"{INJECTED_FOLDER}/{INJECTED_START}", str(task.nodes), task.coordinator, *bare]


def init_containers(pool: ComputePoolSpec, task: Task, defaults: Defaults, resources: Object) -> list[Object]:
    """Return the container that writes mlpools into the volume.

    Args:
        pool: of the job.
        task: of the job.
        defaults: of the operator.
        resources: of the main container, whose place it has for a moment.
    """
    with_git = ["--git"] if task.code.get("gitUrl") else []
    return [
        {
            "name": _NAME,
            "image": pool.runtime.image or defaults.runtime_image,
            "imagePullPolicy": pool.runtime.image_pull_policy or defaults.image_pull_policy,
            "command": ["python", "-m", "mlpools.runtime.inject", INJECTED_FOLDER, *with_git],
            "resources": resources,
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
