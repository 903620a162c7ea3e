"""What the operator builds for an attempt, from changes to an ordinary job and pool."""

from __future__ import annotations

from typing import Any

from mlpools_operator.api.v1alpha1 import parse
from mlpools_operator.domain.defaults import Defaults
from mlpools_operator.domain.plan import Object
from mlpools_operator.domain.pods import indexed_job
from mlpools_operator.domain.pool import families
from mlpools_operator.domain.training.kind import TRAINING_JOB
from tests.support.domain_values import a_job, a_pool
from tests.support.operator_sim import DEFAULTS


def build(
    job: dict[str, Any] | None = None,
    pool: dict[str, Any] | None = None,
    attempt: int = 1,
    defaults: Defaults = DEFAULTS,
) -> Object:
    """Return the Job of an attempt."""
    resource = a_job(**(job or {}))
    spec = parse("TrainingJob", resource.spec)
    offer = parse("ComputePool", a_pool(**(pool or {})).spec)
    family = families.find(offer, families.order(offer)[0], defaults.families)
    work, form = TRAINING_JOB.work(spec), TRAINING_JOB.holding.form(spec, spec.nodes)
    return indexed_job.indexed_job(
        "TrainingJob", resource, spec, work, form, offer, family, attempt, defaults
    )


def pod(built: Object) -> Object:
    """Return the spec of its pods."""
    spec: Object = built["spec"]["template"]["spec"]
    return spec


def main(built: Object) -> Object:
    """Return the container that runs a rank."""
    (container,) = pod(built)["containers"]
    return dict(container)


def variables(built: Object) -> dict[str, Any]:
    """Return that container's variables: name -> value, or where it comes from."""
    return {it["name"]: it.get("value", it.get("valueFrom")) for it in main(built)["env"]}
