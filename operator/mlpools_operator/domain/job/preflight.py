"""What the operator checks of every job before it may queue, beyond what the API server can see."""

from __future__ import annotations

import json

from mlpools_operator.api.v1alpha1 import InvalidSpec, JobSpec
from mlpools_operator.domain.job.kind import RefusedError
from mlpools_operator.domain.pods import mounted

#: Linux takes 128 KiB in one environment variable; the contract's other fields and escapes need a part.
_SPEC_BYTES = 96 * 1024


def invalid(error: InvalidSpec) -> RefusedError:
    """Return the refusal of a spec that breaks a rule of its kind."""
    return RefusedError("InvalidSpec", str(error))


def fits_a_pod(spec: JobSpec) -> None:
    """Check that a pod can be handed all that it has to know.

    Raises:
        RefusedError: it is too much.
    """
    size = len(spec.model_dump_json(exclude={"env", "env_from", "volumes", "volume_mounts"}).encode())
    size += len(json.dumps(mounted.required(spec)))
    if size > _SPEC_BYTES:
        raise RefusedError(
            "InvalidSpec",
            f"The spec takes {size} bytes, and a pod can be handed {_SPEC_BYTES}: name fewer columns, "
            "for example with excluded instead of features.",
        )
