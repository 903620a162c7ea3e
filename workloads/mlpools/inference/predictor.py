"""The process that predicts: it loads the model once and takes shards until there are no more.

It is apart from its keeper, so that a crash of native code costs the shards in its hand and nothing else.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from mlpools import budgets
from mlpools.contract.ends import Exit
from mlpools.contract.tasks import Task
from mlpools.contract.wiring import TASK_ENV
from mlpools.data.plan import Plan
from mlpools.data.sizes import row_bytes
from mlpools.errors import JobError, one_line
from mlpools.inference import models, shards
from mlpools.inference.asking import Dispensary
from mlpools.inference.batches import BatchSize
from mlpools.inference.encode import stored_schema
from mlpools.inference.engine import Engine
from mlpools.inference.errand import FOLDER_ENV, Errand, leave_words, note_loaded
from mlpools.inference.partitions.calls import Caller
from mlpools.inference.partitions.work import Work
from mlpools.inference.parts import Place
from mlpools.inference.rows import Form
from mlpools.inference.scoring import Scorer
from mlpools.inference.settings import Settings
from mlpools.storage import locate
from mlpools.train.reporter import Reporter, log

#: Shares of a worker's memory: for one call of the model, and for rows that wait.
_CALL_SHARE, _ROWS_SHARE = 0.25, 0.125
_MOST_ROWS_BYTES = 128 << 20


def main() -> NoReturn:
    """Run the errand that the environment names; never returns."""
    faulthandler.enable()
    folder = Path(os.environ[FOLDER_ENV])
    try:
        run(folder, Errand.read(folder), Task.from_json(os.environ[TASK_ENV]))
    except JobError as error:
        leave_words(folder, error, "\n".join(getattr(error, "__notes__", ())))
        _leave(error.code)
    except BaseException as error:
        text = traceback.format_exc()
        log(text)
        what = f"Unexpected {type(error).__name__}: {one_line(error)}".rstrip(": ")
        leave_words(folder, JobError(f"{what}. The log has more; please report it."), text)
        _leave(Exit.INTERNAL)
    _leave(Exit.DONE)


def run(folder: Path, errand: Errand, task: Task) -> None:
    """Load the model, see that it fits, and predict for what rank 0 hands out.

    Raises:
        JobError: nothing can go on.
    """
    settings, reporter = Settings.from_task(task), Reporter.from_environment()
    reporter.when_alone(lambda: os._exit(Exit.PEER_LOST))
    dispensary = Dispensary(errand.host, errand.port, errand.token, errand.worker)
    terms = dispensary.terms()
    plan = Plan.from_json(terms["plan"])
    path = Path(errand.model) if errand.model else None
    model = models.load(models.Given(settings.model, path, plan.schema, settings.features, errand.threads))
    form = Form.of(settings, model, plan.schema)
    stored_schema(plan.schema.empty_table().select(list(form.kept)).schema, settings.output.format)
    note_loaded(folder)
    reporter.alive("The model is loaded.")
    dispensary.ready()

    memory = budgets.memory(task.workers_per_node)
    size = BatchSize(
        fixed=settings.batch_rows,
        row_bytes=row_bytes(plan.schema, form.read(model)),
        budget=int(memory * _CALL_SHARE),
        bound=errand.most_rows,
    )

    def alive() -> None:
        reporter.alive(size.said)

    maker = f"{task.attempt}-{errand.worker}"
    cut = shards.cut(plan.group_rows, terms["shardRows"])
    place = locate(settings.output.url), settings.output.format
    if settings.partition_by:
        caller = Caller(model, form, settings.partition_by, settings.on_error, alive)
        work = Work(plan, cut, terms["buckets"], caller, maker, memory, settings.output.max_rows_per_file)
        work.run(*place, dispensary)
    elif (opening := dispensary.wait_opened(alive)) is not None:
        engine = Engine(
            plan,
            cut,
            form,
            Scorer(model, size, settings.on_error, alive),
            Place(*place, opening.once),
            dispensary,
            maker,
            budget=min(_MOST_ROWS_BYTES, int(memory * _ROWS_SHARE)),
        )
        engine.run()
    if model.unknown:
        log(
            f"{model.unknown:,} values are of categories that the model does not know; they count as missing."
        )


def _leave(code: int) -> NoReturn:
    """End at once: destructors of native libraries may wait for threads of their own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
