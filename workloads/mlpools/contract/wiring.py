"""How a pod is wired: the variables, paths and ports by which its parts find one another."""

from __future__ import annotations

TASK_ENV = "MLPOOLS_TASK"
#: A ``Notebook`` document: there is no task where this is.
NOTEBOOK_ENV = "MLPOOLS_NOTEBOOK"
RANK_ENV = "JOB_COMPLETION_INDEX"
#: The address at which the other pods reach this one; on a machine's own network its name may mean another.
POD_IP_ENV = "MLPOOLS_POD_IP"
#: File descriptor on which a worker writes its ``Note`` lines for its supervisor.
REPORT_FD_ENV = "MLPOOLS_REPORT_FD"
#: Path of the named pipe on which a script reports its steps.
REPORT_PIPE_ENV = "MLPOOLS_REPORT_PIPE"
#: What a script finds: a local folder whose content becomes the model of the output, where the output and the
#: checkpoints lie, and which attempt it is of which job.
OUTPUT_ENV = "MLPOOLS_OUTPUT"
OUTPUT_URL_ENV = "MLPOOLS_OUTPUT_URL"
CHECKPOINT_URL_ENV = "MLPOOLS_CHECKPOINT_URL"
ATTEMPT_ENV = "MLPOOLS_ATTEMPT"
JOB_ENV = "MLPOOLS_JOB"
#: Where rank 0's supervisor answers, for workers and supervisors of the other ranks.
LEADER_PORT_ENV = "MLPOOLS_LEADER_PORT"
#: The worker's place among those of its machine: node rank, local rank, local world size. Only launchers that
#: start a supervisor for each of a machine's workers set it.
NEIGHBOURS_ENV = "MLPOOLS_NEIGHBOURS"
#: How many supervisors share the memory of their machine. Only launchers outside Kubernetes set it.
SHARED_BY_ENV = "MLPOOLS_SHARED_BY"
#: File descriptor of a pipe whose other end the program that started a supervisor holds: when that closes it
#: or dies, the supervisor ends. Only launchers outside Kubernetes set it.
LIFELINE_FD_ENV = "MLPOOLS_LIFELINE_FD"
#: Where a supervisor answers, the framework's rendezvous listens and the last words go; set where several
#: share a machine.
STATUS_PORT_ENV = "MLPOOLS_STATUS_PORT"
COORDINATOR_PORT_ENV = "MLPOOLS_COORDINATOR_PORT"
TERMINATION_LOG_ENV = "MLPOOLS_TERMINATION_LOG"
#: Folder of the packages that a job asks for; tests set another than ``PACKAGES_FOLDER``.
PACKAGES_ENV = "MLPOOLS_PACKAGES"
#: Folder of a job's own code; tests set another than ``CODE_FOLDER``.
CODE_ENV = "MLPOOLS_CODE"
#: Folder of a pod, made by who needs it: what libraries write there when they fail is kept beside the logs.
DUMPS_ENV = "MLPOOLS_DUMPS"

#: Where every supervisor serves ``GET /status``; the only port the operator asks for.
STATUS_PORT = 8470
#: Where rank 0 listens for the framework's rendezvous (XGBoost's tracker, torch's store).
COORDINATOR_PORT = 29500
#: Where the dashboard of a job's Ray cluster is, on rank 0's pod; tests set another.
DASHBOARD_PORT = 8265
DASHBOARD_PORT_ENV = "MLPOOLS_DASHBOARD_PORT"

#: Where packages are installed: on the pod's scratch volume, since the root file system is read-only.
PACKAGES_FOLDER = "/scratch/mlpools-packages"
#: In there: what the workers import, and what rank 0 resolved for all ranks.
PACKAGES_LIBRARY = "lib"
PACKAGES_LOCK = "lock.json"
#: Where the pod finds the pool's Secrets for the index and the job's requirements, each if it is there:
#: ``username``, ``password``, ``ca.crt``, ``requirements.txt``.
PACKAGES_MOUNT = "/etc/mlpools/packages"

#: Where a job's own code is laid down, and in there: the code itself, and what rank 0 found for all ranks.
CODE_FOLDER = "/scratch/mlpools-code"
CODE_TREE = "tree"
CODE_LOCK = "lock.json"
#: Where the pod finds the ConfigMap with the code, or the Secret of its Git repository: ``username``,
#: ``password``, ``ca.crt``.
CODE_MOUNT = "/etc/mlpools/code"
#: Another folder with it, where there are no mounts.
CODE_MOUNT_ENV = "MLPOOLS_CODE_MOUNT"

#: Where a pod with an image of the job's own finds mlpools: as one file, and the script that starts it.
INJECTED_FOLDER = "/mlpools"
INJECTED_ZIP = "mlpools.pyz"
INJECTED_START = "start"
#: Path of that file, if the supervisor runs from it.
INJECTED_ENV = "MLPOOLS_INJECTED"

#: Where a pod keeps data that it reads more than once, and how many bytes of it its pool allows.
CACHE_ENV = "MLPOOLS_CACHE"
CACHE_BYTES_ENV = "MLPOOLS_CACHE_BYTES"
CACHE_MOUNT = "/cache"
#: The container's limit of local disk in bytes; without a limit what the machine has of it.
EPHEMERAL_BYTES_ENV = "MLPOOLS_EPHEMERAL_BYTES"
#: Where the pod finds the Secrets of its SQL sources: a folder for each data set by its name.
CONNECTIONS_MOUNT = "/etc/mlpools/connections"
#: Another folder with them, where there are no mounts.
CONNECTIONS_ENV = "MLPOOLS_CONNECTIONS"
#: URL of the folder where a job lays down the rows of SQL queries for all its ranks and attempts.
STAGE_ENV = "MLPOOLS_STAGE"

#: Where a notebook keeps its files, and where it finds the token that opens it.
WORKSPACE = "/workspace"
TOKEN_MOUNT = "/etc/mlpools/token"  # noqa: S105 - a path
TOKEN_FILE = "token"  # noqa: S105 - a name
#: Folder in it with the packages that were installed in the notebook, for the image as it is.
NOTEBOOK_LIBRARY_ENV = "MLPOOLS_NOTEBOOK_LIBRARY"
#: Other places for them, where there are no mounts.
WORKSPACE_ENV = "MLPOOLS_WORKSPACE"
TOKEN_ENV = "MLPOOLS_TOKEN_FOLDER"  # noqa: S105 - a variable's name

#: Where the kubelet reads the termination message.
TERMINATION_LOG = "/dev/termination-log"


def log_name(attempt: int, rank: int) -> str:
    """Return where a rank's log lies under the output's URL."""
    return dump_name(attempt, f"rank-{rank}.log")


def dump_name(attempt: int, name: str) -> str:
    """Return where a file that a library wrote when it failed lies under the output's URL."""
    return f"logs/attempt-{attempt}/{name}"
