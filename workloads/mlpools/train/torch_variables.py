"""Environment variables that PyTorch reads. What the user set stays as it is.

Names and defaults are those of PyTorch 2.15 (``FlightRecorder.hpp``, ``ProcessGroupNCCL.hpp``); the older
names, which it still reads, count as set by the user too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlpools.contract.wiring import DUMPS_ENV

#: The collectives that a rank remembers, for the dump that tells which rank lags behind which.
_REMEMBERED = 2000
#: NCCL's own watchdog answers for so long while a CUDA call blocks it; PyTorch's default is 480.
_HEARTBEAT_SECONDS = 300
#: The rank is appended.
_DUMP = "collectives-rank-"
#: It has to speak before the supervisor ends a rank as hung, which knows no collectives.
_HEARTBEAT_SHARE = 0.5


def missing(environ: Mapping[str, str], *, hang_seconds: int, scratch: Path) -> dict[str, str]:
    """Return the variables to add, so that a hang of NCCL ends, and ends with the names of ranks.

    The flight recorder's files, ``collectives-rank-<rank>``, are kept beside the job's logs.

    Args:
        environ: what is set.
        hang_seconds: time without progress after which a rank counts as hung; 0 = never.
        scratch: an existing folder for these files where no supervisor keeps them.
    """
    dumps = Path(environ.get(DUMPS_ENV, scratch))
    dumps.mkdir(mode=0o700, exist_ok=True)
    heartbeat = min(_HEARTBEAT_SECONDS, int(hang_seconds * _HEARTBEAT_SHARE) or _HEARTBEAT_SECONDS)
    wanted = {
        # As torchrun sets it: an error or a time-out of a collective ends the process.
        ("TORCH_NCCL_ASYNC_ERROR_HANDLING", "NCCL_ASYNC_ERROR_HANDLING"): "1",
        ("TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC",): str(heartbeat),
        # Tells in the log which ranks did not join the collective that timed out.
        ("TORCH_NCCL_DESYNC_DEBUG", "NCCL_DESYNC_DEBUG"): "1",
        ("TORCH_NCCL_DUMP_ON_TIMEOUT", "TORCH_FR_DUMP_ON_TIMEOUT"): "1",
        ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE"): str(_REMEMBERED),
        ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE"): str(dumps / _DUMP),
    }
    return {names[0]: value for names, value in wanted.items() if not any(name in environ for name in names)}


def elastic(environ: Mapping[str, str], *, run_id: str, attempt: int) -> dict[str, str]:
    """Return what torchrun's agent tells its workers beside ranks, address and port.

    Programs look at these names to find out whether an elastic launcher started them. The store at
    ``MASTER_ADDR:MASTER_PORT`` is there before the program begins, as with torchrun.
    """
    return {
        "ROLE_NAME": "default",
        "ROLE_RANK": environ["RANK"],
        "ROLE_WORLD_SIZE": environ["WORLD_SIZE"],
        "GROUP_WORLD_SIZE": str(int(environ["WORLD_SIZE"]) // int(environ["LOCAL_WORLD_SIZE"])),
        "TORCHELASTIC_RUN_ID": run_id,
        "TORCHELASTIC_RESTART_COUNT": str(attempt - 1),
        "TORCHELASTIC_MAX_RESTARTS": str(attempt - 1),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
