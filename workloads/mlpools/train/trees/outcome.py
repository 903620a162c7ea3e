"""What a finished training leaves: the metrics of its best round, and the facts behind them."""

from __future__ import annotations

import dataclasses
import json
import resource
from collections.abc import Mapping
from typing import Any

from mlpools.storage import locate
from mlpools.train.checkpoints import Checkpoints
from mlpools.train.job import Job, Outcome
from mlpools.train.trees.boosting import Boosting
from mlpools.train.trees.data import Agreed, Data
from mlpools.train.trees.importance import IMPORTANCE, Importance, table
from mlpools.train.trees.progress import Progress, Values, flat


def identity(params: Mapping[str, Any], agreed: Agreed) -> dict[str, Any]:
    """Return what a checkpoint must have been made with to go on from it: parameters, columns, data."""
    columns = agreed.columns
    chosen = {
        "features": list(columns.features),
        "label": columns.label,
        "weight": columns.weight,
        "baseMargin": columns.margin,
        "groupColumn": columns.group,
    }
    return {**params, **chosen, "data": agreed.fingerprint}


def checkpoints(job: Job, made_with: Mapping[str, Any]) -> Checkpoints:
    """Return the job's checkpoints, for rank 0."""
    where = job.task.checkpoint
    return Checkpoints(locate(str(where["url"])), job.task.uid, made_with, keep=int(where.get("keep") or 2))


def best_round(progress: Progress) -> int:
    """Return the round whose model counts, from 0: the best one where a metric was watched."""
    return progress.best_round if progress.best_round >= 0 else progress.finished - 1


@dataclasses.dataclass(frozen=True)
class Model:
    """What a framework made.

    Attributes:
        name: of the file.
        content: as the framework itself reads it.
        importance: of each feature, in the rounds that count.
        baseline: metrics of the best constant: what learning has to beat.
        seed: of all that was drawn by chance.
    """

    name: str
    content: bytes
    importance: Mapping[str, Importance]
    baseline: Values
    seed: int


def facts_of_rank(job: Job, data: Data, unknown: Mapping[str, int], **more: Any) -> dict[str, Any]:
    """Return what a rank says about itself, for the job's result.

    Args:
        job: of the rank.
        data: that it read.
        unknown: values of unknown categories, of each set that has some.
        more: that only one framework has.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = {"rank": job.gang.rank, "data": data.facts(), "unknownCategories": dict(unknown)}
    return {**facts, "peakMemoryBytes": peak, **more}


def outcome(model: Model, boosting: Boosting, agreed: Agreed, ranks: list[dict[str, Any]]) -> Outcome:
    """Put together what rank 0 leaves.

    Args:
        model: the finished one.
        boosting: the finished loop.
        agreed: what was read, and how.
        ranks: what each rank says about its reading.
    """
    progress = boosting.progress
    best = best_round(progress)
    files = {
        name: [[file.name, len(file.units)] for file in plan.files] for name, plan in agreed.plans.items()
    }
    facts = {
        "rounds": progress.finished,
        "bestRound": best + 1,
        "metrics": progress.at(best),
        "baseline": model.baseline,
        "seed": model.seed,
        "rows": {name: plan.num_rows for name, plan in agreed.plans.items()},
        "resumedFromStep": boosting.resumed_from,
        "checkpointsPassedOver": boosting.passed_over,
        "columns": json.loads(agreed.columns.to_json()),
        "fingerprint": agreed.fingerprint,
        "files": files,
        "ranks": ranks,
    }
    return Outcome(
        files={model.name: model.content, IMPORTANCE: table(model.importance)},
        step=progress.finished,
        metrics=flat(progress.at(best)),
        facts=facts,
        history=progress.rows(),
        best_step=best + 1,
        checkpoint_step=boosting.checkpoint_step,
    )
