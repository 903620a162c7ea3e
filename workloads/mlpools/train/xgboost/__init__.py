"""Distributed XGBoost: every rank bins its own rows, all ranks grow the same trees."""

from __future__ import annotations

import json

import xgboost as xgb

from mlpools.contract import Phase
from mlpools.train.collective import Collective, meet
from mlpools.train.job import Job, Outcome
from mlpools.train.trees.boosting import Boosting
from mlpools.train.trees.data import Agreed, Data, agree, prepare
from mlpools.train.trees.outcome import Model, best_round, checkpoints, identity, outcome
from mlpools.train.xgboost import device
from mlpools.train.xgboost.callbacks import XGBoostCallbacks
from mlpools.train.xgboost.evaluation import Held, check_metric
from mlpools.train.xgboost.matrix import Batches, build
from mlpools.train.xgboost.parameters import Parameters, rehearse, translate
from mlpools.train.xgboost.trees import XGBoostTrees

MODEL = "model.ubj"


def run(job: Job) -> Outcome | None:
    """Train one model over all ranks.

    Returns:
        The outcome on rank 0, None on the others.

    Raises:
        JobError: with a cause.
    """
    parameters = Parameters.from_spec(job.task.spec, threads=job.gang.threads, device=_device(job))
    parameters.check(list(job.task.data), job.gang.world_size)
    job.reporter.phase(Phase.DATA)
    own = _prepare(job, parameters) if job.gang.leads else None
    with meet(job) as collective:
        job.reporter.lap("rendezvous")
        try:
            return _train(job, parameters, collective, own)
        except xgb.core.XGBoostError as error:
            raise translate(error) from error


def _device(job: Job) -> str:
    return device.choose(
        str(job.task.spec["params"].get("device", "")),
        gpus=job.task.gpus_per_node,
        workers=job.task.workers_per_node,
        built_for_gpus=bool(xgb.build_info()["USE_CUDA"]),
    )


def _prepare(job: Job, parameters: Parameters) -> Agreed:
    agreed = prepare(job, parameters.section)
    check_metric(job.hooks, {name: plan.num_rows for name, plan in agreed.plans.items()})
    rehearse(parameters, agreed.columns)
    job.reporter.lap("rehearsal")
    return agreed


def _train(job: Job, parameters: Parameters, collective: Collective, own: Agreed | None) -> Outcome | None:
    job.reporter.phase(Phase.WORKING)
    data = agree(job, collective, own)
    sets, unknown = _sets(job, parameters, data)
    job.stop.check()
    made_with = identity({**parameters.identity, **job.hooks.identity}, data.agreed)
    saved = checkpoints(job, made_with) if job.gang.leads else None
    trees = XGBoostTrees(collective, parameters, sets, job.hooks)
    callbacks = XGBoostCallbacks(job.hooks.callbacks, trees)
    boosting = Boosting(job, collective, parameters.section, trees, list(sets), saved, callbacks)
    boosting.resume(saved.newest(of_others=job.task.output.get("mode") == "Resume") if saved else None)
    boosting.run(data.agreed.plans["train"].num_rows)
    job.reporter.lap("boosting")
    job.reporter.phase(Phase.FINISHING)
    baseline = trees.baseline()
    facts = {"rank": job.gang.rank, "data": data.facts(), "unknownCategories": unknown}
    ranks = collective.gather(facts)
    if not job.gang.leads:
        return None
    best = best_round(boosting.progress)
    trees.booster.set_attr(
        best_iteration=str(best),
        mlpools_columns=data.columns.to_json(),
        mlpools_data=json.dumps(made_with["data"], sort_keys=True),
    )
    model = Model(MODEL, trees.save(), trees.importance(best + 1), baseline, parameters.seed)
    return outcome(model, boosting, data.agreed, ranks)


def _sets(job: Job, parameters: Parameters, data: Data) -> tuple[dict[str, Held], dict[str, int]]:
    """Return the binned rows of every set, and how many values each has of unknown categories."""
    sets: dict[str, Held] = {}
    unknown = {}
    for name, shard in data.rows.items():
        batches = Batches(shard, data.columns, parameters, name)
        matrix = build(batches, parameters, sets["train"].matrix if sets else None)
        sets[name] = Held(matrix, empty=shard.num_rows == 0)
        if batches.unknown:
            unknown[name] = batches.unknown
        job.reporter.alive(f"The data {name!r} is in memory.")
    job.reporter.lap("data")
    return sets, unknown
