"""The kinds of jobs that there are; notebooks are none: they have no end."""

from __future__ import annotations

from collections.abc import Mapping

from mlpools_operator.domain.inference.kind import BATCH_INFERENCE
from mlpools_operator.domain.job.kind import AnyKind
from mlpools_operator.domain.training.kind import TRAINING_JOB

#: By name.
JOB_KINDS: Mapping[str, AnyKind] = {kind.name: kind for kind in (TRAINING_JOB, BATCH_INFERENCE)}
