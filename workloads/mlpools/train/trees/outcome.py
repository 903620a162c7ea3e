"""What a finished training leaves: the metrics of its best round, and the facts behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from mlpools.storage import locate
from mlpools.train.checkpoints import Checkpoints
from mlpools.train.job import Job, Outcome, pretty
from mlpools.train.trees.boosting import Boosting
from mlpools.train.trees.data import Agreed
from mlpools.train.trees.progress import Progress, Values, flat

METRICS = "metrics.json"


def identity(params: Mapping[str, Any], agreed: Agreed) -> dict[str, Any]:
    """Return what a checkpoint must have been made with to go on from it: parameters, columns, data."""
    columns = agreed.columns
    chosen = {"features": list(columns.features), "label": columns.label, "weight": columns.weight}
    return {**params, **chosen, "data": agreed.fingerprint}


def checkpoints(job: Job, made_with: Mapping[str, Any]) -> Checkpoints:
    """Return the job's checkpoints, for rank 0."""
    where = job.task.checkpoint
    return Checkpoints(locate(str(where["url"])), job.task.uid, made_with, keep=int(where.get("keep") or 2))


def best_round(progress: Progress) -> int:
    """Return the round whose model counts, from 0: the best one where a metric was watched."""
    return progress.best_round if progress.best_round >= 0 else progress.finished - 1


def outcome(
    model: tuple[str, bytes],
    boosting: Boosting,
    agreed: Agreed,
    baseline: Values,
    ranks: list[dict[str, Any]],
) -> Outcome:
    """Put together what rank 0 leaves.

    Args:
        model: name and content of the file.
        boosting: the finished loop.
        agreed: what was read, and how.
        baseline: metrics of the best constant: what learning has to beat.
        ranks: what each rank says about its reading.
    """
    progress = boosting.progress
    best = best_round(progress)
    summary = {
        "rounds": progress.finished,
        "bestRound": best + 1,
        "metrics": progress.at(best),
        "baseline": baseline,
        "rows": {name: plan.num_rows for name, plan in agreed.plans.items()},
    }
    files = {
        name: [[file.name, len(file.units)] for file in plan.files] for name, plan in agreed.plans.items()
    }
    facts = {
        **summary,
        "resumedFromStep": boosting.resumed_from,
        "columns": json.loads(agreed.columns.to_json()),
        "fingerprint": agreed.fingerprint,
        "files": files,
        "ranks": ranks,
    }
    return Outcome(
        files=dict([model, (METRICS, pretty(_finite({**summary, "history": progress.history})))]),
        step=progress.finished,
        metrics=flat(progress.at(best)),
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
