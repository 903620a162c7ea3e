"""Distributed XGBoost: every rank bins its own rows, all ranks grow the same trees."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import xgboost as xgb

from mlpools import budgets
from mlpools.contract import Phase
from mlpools.data.columns import Columns, choose
from mlpools.data.counting import count
from mlpools.data.ingestor import ArrowIngestor
from mlpools.data.plan import Plan, resolve
from mlpools.data.progress import reported_to
from mlpools.data.shard import ShardRows, size_in_memory
from mlpools.data.sharded import ShardedDataConnector
from mlpools.data.sources import from_spec
from mlpools.errors import DataNotReadable, Preempted
from mlpools.storage import locate
from mlpools.train.checkpoints import Checkpoints
from mlpools.train.job import Job, Outcome
from mlpools.train.xgboost.boosting import Boosting, flat
from mlpools.train.xgboost.collective import Collective, meet
from mlpools.train.xgboost.matrix import Batches, build
from mlpools.train.xgboost.parameters import Parameters, rehearse, translate

#: Share of the container's memory for decoded rows, while XGBoost makes its own smaller form of them.
_DECODED_SHARE = 0.25


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
    plans, columns = _prepare(job, parameters) if job.gang.leads else ({}, None)
    with meet(job) as collective:
        job.reporter.lap("rendezvous")
        try:
            return _train(job, parameters, collective, plans, columns)
        except xgb.core.XGBoostError as error:
            raise translate(error) from error


def _prepare(job: Job, parameters: Parameters) -> tuple[dict[str, Plan], Columns]:
    """Resolve the plan and fix the data contract, once, on rank 0."""
    with reported_to(lambda: _reading(job)):
        plans = {name: count(resolve(from_spec(name, raw))) for name, raw in job.task.data.items()}
    rows, world = plans["train"].num_rows, job.gang.world_size
    if rows < world:
        raise DataNotReadable(f"The training data has {rows} row(s) for {world} ranks; use fewer nodes.")
    columns = choose(
        {name: plan.schema for name, plan in plans.items()},
        label=parameters.label,
        weight=parameters.weight,
        features=parameters.features,
        excluded=parameters.excluded,
    )
    job.reporter.lap("plan")
    rehearse(parameters, columns)
    job.reporter.lap("rehearsal")
    return plans, columns


def _train(
    job: Job,
    parameters: Parameters,
    collective: Collective,
    plans: Mapping[str, Plan],
    columns: Columns | None,
) -> Outcome | None:
    job.reporter.phase(Phase.WORKING)
    plans, columns = _agree(collective, plans, columns)
    rows = _shards(job, plans, columns)
    if columns.categorical:
        found: dict[str, set[str]] = {name: set() for name in columns.categorical}
        for table in rows["train"].tables(columns.categorical):
            for name, texts in columns.distinct(table).items():
                found[name].update(texts)
        mine = {name: sorted(texts) for name, texts in found.items()}
        columns = columns.with_categories(collective.gather(mine))
    matrices, unknown = _matrices(job, parameters, columns, rows)
    job.stop.check()
    identity = _identity(parameters, plans, columns)
    checkpoints = _checkpoints(job, identity) if job.gang.leads else None
    boosting = Boosting(job, collective, parameters, matrices, checkpoints)
    takes_over = job.task.output.get("mode") == "Resume"
    boosting.resume(checkpoints.newest(of_others=takes_over) if checkpoints else None)
    complete = boosting.run(plans["train"].num_rows)
    job.reporter.lap("boosting")
    if not complete:
        raise Preempted(f"Stopped as asked after round {boosting.progress.finished}, which is saved.")
    job.reporter.phase(Phase.FINISHING)
    baseline = _baseline(boosting, parameters, matrices)
    facts = {name: shard.facts() for name, shard in rows.items()}
    ranks = collective.gather({"rank": job.gang.rank, "data": facts, "unknownCategories": unknown})
    if not job.gang.leads:
        return None
    return _outcome(boosting, columns, plans, identity, baseline, ranks)


def _agree(
    collective: Collective, plans: Mapping[str, Plan], columns: Columns | None
) -> tuple[Mapping[str, Plan], Columns]:
    """Give every rank rank 0's plan and data contract."""
    sent = columns and [{name: plan.to_json() for name, plan in plans.items()}, columns.to_json()]
    texts, contract = collective.share(sent)
    return {name: Plan.from_json(text) for name, text in texts.items()}, Columns.from_json(contract)


def _shards(job: Job, plans: Mapping[str, Plan], columns: Columns) -> dict[str, ShardRows]:
    """Return this rank's rows of every set, training data first."""
    shards = {}
    for name in ["train", *sorted(set(plans) - {"train"})]:
        ingestor = ArrowIngestor([from_spec(name, job.task.data[name])], plans[name])
        shards[name] = ShardedDataConnector(ingestor).get_shard(job.gang)
    memory = budgets.memory(job.task.workers_per_node)
    needed = sum(size_in_memory(shard, columns.all) for shard in shards.values())
    keep = needed <= memory * _DECODED_SHARE

    def alive() -> None:
        _reading(job)

    return {name: ShardRows(shard, columns.all, keep=keep, alive=alive) for name, shard in shards.items()}


def _reading(job: Job) -> None:
    """Say that reading got further, and stop if that was asked for."""
    job.stop.check()
    job.reporter.alive("Reading data.")


def _matrices(
    job: Job, parameters: Parameters, columns: Columns, rows: Mapping[str, ShardRows]
) -> tuple[dict[str, xgb.QuantileDMatrix], dict[str, int]]:
    matrices: dict[str, xgb.QuantileDMatrix] = {}
    unknown = {}
    for name, shard in rows.items():
        batches = Batches(shard, columns, parameters, name)
        matrices[name] = build(batches, parameters, matrices.get("train"))
        if batches.unknown:
            unknown[name] = batches.unknown
        job.reporter.alive(f"The data {name!r} is in memory.")
    job.reporter.lap("data")
    return matrices, unknown


def _identity(parameters: Parameters, plans: Mapping[str, Plan], columns: Columns) -> dict[str, Any]:
    data = {name: plan.fingerprint(columns.all) for name, plan in plans.items()}
    chosen = {"features": list(columns.features), "label": columns.label, "weight": columns.weight}
    return {**parameters.identity, **chosen, "data": data}


def _checkpoints(job: Job, identity: Mapping[str, Any]) -> Checkpoints:
    where = job.task.checkpoint
    root = locate(str(where["url"]))
    return Checkpoints(root, job.task.uid, identity, keep=int(where.get("keep") or 2))


def _baseline(
    boosting: Boosting, parameters: Parameters, matrices: Mapping[str, xgb.QuantileDMatrix]
) -> dict[str, dict[str, float]]:
    """Return the metrics of a model without trees, the best constant: what learning has to beat."""
    score = json.loads(boosting.booster.save_config())["learner"]["learner_model_param"]["base_score"]
    constant = xgb.Booster({**parameters.booster, "base_score": score}, cache=list(matrices.values()))
    return boosting.evaluate(constant, 0)


def _outcome(
    boosting: Boosting,
    columns: Columns,
    plans: Mapping[str, Plan],
    identity: Mapping[str, Any],
    baseline: Mapping[str, Mapping[str, float]],
    ranks: list[Any],
) -> Outcome:
    progress, booster = boosting.progress, boosting.booster
    best = progress.best_round if progress.best_round >= 0 else progress.finished - 1
    metrics = progress.at(best)
    booster.set_attr(
        best_iteration=str(best),
        mlpools_columns=columns.to_json(),
        mlpools_data=json.dumps(identity["data"], sort_keys=True),
    )
    rows = {name: plan.num_rows for name, plan in plans.items()}
    summary = {
        "rounds": progress.finished,
        "bestRound": best + 1,
        "metrics": metrics,
        "baseline": baseline,
        "rows": rows,
    }
    details = {**summary, "history": progress.history}
    files = {name: [[file.name, len(file.units)] for file in plan.files] for name, plan in plans.items()}
    facts = {
        **summary,
        "resumedFromStep": boosting.resumed_from,
        "columns": json.loads(columns.to_json()),
        "fingerprint": identity["data"],
        "files": files,
        "ranks": ranks,
    }
    return Outcome(
        model=bytes(booster.save_raw("ubj")),
        step=progress.finished,
        metrics=flat(metrics),
        details=_finite(details),
        facts=_finite(facts),
        checkpoint_step=boosting.checkpoint_step,
    )


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say, such as a metric that became NaN, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value
