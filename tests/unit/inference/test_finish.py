"""An output is finished only if rows in are rows out and rows of failed shards."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlpools.data.writers import commit
from mlpools.errors import JobError, OutputNotWritable
from mlpools.inference import finish
from mlpools.inference.finish import Tally
from mlpools.inference.ledger import Failure
from mlpools.inference.parts import Committed, Place
from mlpools.storage import locate
from tests.support.parts import ROWS, SCHEMA, a_task, complete, publish


@pytest.mark.parametrize(
    ("rows", "failed"),
    [
        ({0: ROWS, 1: ROWS}, {}),  # a shard is forgotten
        ({0: ROWS + 1}, {}),  # a row is
        ({0: ROWS}, {1: Failure(1, "no")}),  # a shard is of another input
    ],
)
def test_rows_that_do_not_add_up_are_no_result(
    tmp_path: Path, rows: dict[int, int], failed: dict[int, Failure]
) -> None:
    place = Place(locate(tmp_path), "parquet", once=True)
    tally = Tally({0: publish(place, 0)}, failed, rows)
    with pytest.raises((JobError, KeyError)):
        finish.complete(place.target, a_task(str(tmp_path)), tally, SCHEMA, {}, {})
    assert not (tmp_path / commit.MANIFEST).exists()
    assert not (tmp_path / commit.SUCCESS).exists()


def test_a_part_that_vanished_or_was_changed_is_no_result(tmp_path: Path) -> None:
    place = Place(locate(tmp_path), "parquet", once=True)
    made: Committed = publish(place, 0)
    (tmp_path / made.part.name).write_bytes(b"other")
    with pytest.raises(OutputNotWritable, match="removed or changed"):
        complete(place, {0: made})
    assert not (tmp_path / commit.SUCCESS).exists()
