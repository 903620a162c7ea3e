"""TrainingJob as a kind of job."""

from __future__ import annotations

from mlpools_operator.api.v1alpha1 import TrainingJobSpec, TrainingJobStatus
from mlpools_operator.domain import outputs
from mlpools_operator.domain.job import gang
from mlpools_operator.domain.job.kind import JobKind
from mlpools_operator.domain.pods.work import Work
from mlpools_operator.domain.training import account, preflight, words

#: Frameworks of which a worker drives one GPU.
_ONE_GPU_EACH = frozenset({"xgboost", "pytorch"})


def work(spec: TrainingJobSpec) -> Work:
    """Return what every rank has to do."""
    return Work(
        framework=spec.framework,
        section=getattr(spec, spec.framework).plain(),
        data={name: source.plain() for name, source in spec.data.items()},
        output=spec.output.plain(),
        checkpoint={**spec.checkpoint.plain(), "url": outputs.checkpoint_url(spec)},
        collective=True,
        bare=_bare(spec),
        one_gpu_each=spec.framework in _ONE_GPU_EACH or _under_torchrun(spec),
    )


def _under_torchrun(spec: TrainingJobSpec) -> bool:
    return spec.script is not None and spec.script.launcher == "torchrun"


def _bare(spec: TrainingJobSpec) -> tuple[str, ...]:
    """Return the command of a script that needs no Python: neither before it, nor around it."""
    script, runtime = spec.script, spec.runtime
    if script is None or not script.command or script.launcher != "none":
        return ()
    return () if spec.code or runtime.packages or runtime.requirements else (*script.command, *script.args)


TRAINING_JOB = JobKind(
    name="TrainingJob",
    status=TrainingJobStatus,
    check=preflight.check,
    work=work,
    account=account,
    words=words,
    holding=gang,
    reads=("data",),
    writes=("output", "checkpoint"),
)
