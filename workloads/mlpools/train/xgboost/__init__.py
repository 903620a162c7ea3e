"""Distributed XGBoost: every rank bins its own rows, all ranks grow the same trees."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import traceback
from pathlib import Path

import xgboost as xgb

from mlpools import budgets
from mlpools.contract.reports import Phase
from mlpools.train.collective import Collective, meet
from mlpools.train.job import Job, Outcome
from mlpools.train.reporter import log
from mlpools.train.trees.boosting import Boosting
from mlpools.train.trees.data import Agreed, Data, agree, most_rows, prepare
from mlpools.train.trees.metrics import check_metric
from mlpools.train.trees.outcome import Model, best_round, checkpoints, facts_of_rank, identity, outcome
from mlpools.train.xgboost import device, memory
from mlpools.train.xgboost.callbacks import XGBoostCallbacks
from mlpools.train.xgboost.evaluation import Held
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


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """What rank 0 decides before any rows are read.

    Attributes:
        agreed: what all ranks read and how they see it.
        external: whether binned rows lie in files.
    """

    agreed: Agreed
    external: bool


def _prepare(job: Job, parameters: Parameters) -> _Prepared:
    agreed = prepare(job, parameters.section)
    check_metric(job.hooks, {name: plan.num_rows for name, plan in agreed.plans.items()})
    rehearse(parameters, agreed.columns)
    job.reporter.lap("rehearsal")
    return _Prepared(agreed, _is_external(job, parameters, agreed))


def _is_external(job: Job, parameters: Parameters, agreed: Agreed) -> bool:
    if parameters.booster["device"] != "cpu":
        return False  # the rows lie in the GPU's memory, of which nothing is known here
    task = job.task
    size = memory.Size(
        rows=sum(most_rows(plan.num_rows, job.gang.world_size) for plan in agreed.plans.values()),
        features=len(agreed.columns.features),
        outputs=max(1, int(parameters.booster.get("num_class", 1))),
    )
    return memory.is_external(
        task.spec.get("externalMemory") or "auto",
        size,
        memory=budgets.memory(task.workers_per_node),
        disk=budgets.disk(Path(tempfile.gettempdir())) // task.workers_per_node,
        nodes=task.nodes,
    )


def _train(job: Job, parameters: Parameters, collective: Collective, own: _Prepared | None) -> Outcome | None:
    job.reporter.phase(Phase.WORKING)
    data = agree(job, collective, own.agreed if own else None)
    if not collective.share(own.external if own else None):
        return _train_on(job, parameters, collective, data, pages=None)
    with tempfile.TemporaryDirectory(prefix="mlpools-xgboost-") as pages:
        log("The rows do not fit into memory: they are binned into files below the temporary folder.")
        try:
            return _train_on(job, parameters, collective, data, pages=Path(pages))
        except BaseException as error:
            # XGBoost removes a file together with its matrix, and complains if it is gone already.
            traceback.clear_frames(error.__traceback__)
            raise


def _train_on(
    job: Job, parameters: Parameters, collective: Collective, data: Data, pages: Path | None
) -> Outcome | None:
    sets, unknown = _sets(job, parameters, data, pages)
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
    ranks = collective.gather(facts_of_rank(job, data, unknown, externalMemory=pages is not None))
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


def _sets(
    job: Job, parameters: Parameters, data: Data, pages: Path | None
) -> tuple[dict[str, Held], dict[str, int]]:
    """Return the binned rows of every set, and how many values each has of unknown categories."""
    sets: dict[str, Held] = {}
    unknown = {}
    for name, shard in data.rows.items():
        batches = Batches(shard, data.columns, parameters, name, pages)
        matrix = build(batches, parameters, sets["train"].matrix if sets else None)
        batches.close()
        sets[name] = Held(matrix, empty=shard.num_rows == 0)
        if batches.unknown:
            unknown[name] = batches.unknown
        job.reporter.alive(f"The data {name!r} is binned.")
    job.reporter.lap("data")
    return sets, unknown
