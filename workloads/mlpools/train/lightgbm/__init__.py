"""Distributed LightGBM: every rank bins its own rows by common borders, all ranks grow the same trees."""

from __future__ import annotations

import functools

import lightgbm as lgb
import numpy as np

from mlpools import budgets
from mlpools.contract.reports import Phase
from mlpools.train import lightgbm_text
from mlpools.train.collective import Collective, meet
from mlpools.train.job import Job, Outcome
from mlpools.train.lightgbm import memory, network
from mlpools.train.lightgbm.callbacks import LightGBMCallbacks
from mlpools.train.lightgbm.dataset import BinnedRows, build, matrices, reference, sampled
from mlpools.train.lightgbm.parameters import Parameters
from mlpools.train.lightgbm.rehearsal import rehearse, translate
from mlpools.train.lightgbm.trees import LightGBMTrees
from mlpools.train.trees.boosting import Boosting
from mlpools.train.trees.data import Agreed, Data, agree, prepare
from mlpools.train.trees.metrics import check_metric
from mlpools.train.trees.outcome import Model, best_round, checkpoints, facts_of_rank, identity, outcome

MODEL = "model.txt"
#: Share of a worker's memory for the sample that the borders of the bins are found in.
_SAMPLE_SHARE = 0.1


def run(job: Job) -> Outcome | None:
    """Train one model over all ranks.

    Returns:
        The outcome on rank 0, None on the others.

    Raises:
        JobError: with a cause.
    """
    parameters = Parameters.from_spec(job.task.spec, threads=job.gang.threads)
    parameters.check(list(job.task.data), job.gang.world_size)
    job.reporter.phase(Phase.DATA)
    own = _prepare(job, parameters) if job.gang.leads else None
    with meet(job) as collective:
        job.reporter.lap("rendezvous")
        try:
            return _train(job, parameters, collective, own)
        except lgb.basic.LightGBMError as error:
            raise translate(error) from error


def _prepare(job: Job, parameters: Parameters) -> Agreed:
    agreed = prepare(job, parameters.section)
    check_metric(job.hooks, {name: plan.num_rows for name, plan in agreed.plans.items()})
    rehearse(parameters, agreed.columns)
    job.reporter.lap("rehearsal")
    return agreed


def _train(job: Job, parameters: Parameters, collective: Collective, own: Agreed | None) -> Outcome | None:
    job.reporter.phase(Phase.WORKING)
    data = agree(job, collective, own)
    # Before the bins: LightGBM then finds the borders of each feature on one rank, and tells the others.
    places = network.connect(job.gang, collective, job.task.hang_timeout_seconds)
    sets = _binned(job, parameters, collective, data)
    job.stop.check()
    made_with = identity({**parameters.identity, **job.hooks.identity}, data.agreed)
    saved = checkpoints(job, made_with) if job.gang.leads else None
    raw_scores = functools.partial(_raw_scores, data)
    trees = LightGBMTrees(collective, parameters, places, sets, data.columns, raw_scores, job.hooks)
    callbacks = LightGBMCallbacks(job.hooks.callbacks, trees, parameters.section.rounds)
    boosting = Boosting(job, collective, parameters.section, trees, list(sets), saved, callbacks)
    boosting.resume(saved.newest(of_others=job.task.output.get("mode") == "Resume") if saved else None)
    boosting.run(data.agreed.plans["train"].num_rows)
    job.reporter.lap("boosting")
    job.reporter.phase(Phase.FINISHING)
    unknown = {name: rows.unknown for name, rows in sets.items() if rows.unknown}
    ranks = collective.gather(facts_of_rank(job, data, unknown))
    if not job.gang.leads:
        return None
    best = best_round(boosting.progress) + 1
    text = lightgbm_text.described(
        lightgbm_text.text(trees.booster, best), data.columns, data.agreed.fingerprint
    )
    made = Model(MODEL, text.encode(), trees.importance(best), trees.baseline, parameters.seed)
    return outcome(made, boosting, data.agreed, ranks)


def _binned(job: Job, parameters: Parameters, collective: Collective, data: Data) -> dict[str, BinnedRows]:
    """Return this rank's binned rows of every set.

    Raises:
        OutOfMemory: they surely do not fit.
    """
    there = budgets.memory(job.task.workers_per_node)
    of_sample = int(there * _SAMPLE_SHARE)
    sample = sampled(data.rows["train"], data.columns, parameters, collective, of_sample)
    borders = reference(sample, data.columns, parameters)
    train_rows = data.rows["train"].num_rows
    memory.check(
        sample,
        borders,
        train_rows=train_rows,
        other_rows=sum(rows.num_rows for rows in data.rows.values()) - train_rows,
        outputs=parameters.outputs,
        memory=there,
        nodes=job.task.nodes,
    )
    del sample
    sets = {}
    for name, rows in data.rows.items():
        sets[name] = build(rows, data.columns, parameters, borders, name)
        job.reporter.alive(f"The data {name!r} is in memory.")
    job.reporter.lap("data")
    return sets


def _raw_scores(data: Data, booster: lgb.Booster, name: str) -> np.ndarray:
    """Return a model's predictions for this rank's rows of a set, before any transformation."""
    scores = []
    for matrix, batch in matrices(data.rows[name], data.columns, name):
        raw = booster.predict(matrix, raw_score=True)
        scores.append(raw if batch.margin is None else raw + batch.margin)
    return np.concatenate(scores)
