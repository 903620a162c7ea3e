"""Parts of a batch inference, made by hand."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from mlpools.contract.tasks import INFERENCE, Task
from mlpools.data.writers import commit
from mlpools.data.writers.manifest import Manifest
from mlpools.inference import finish
from mlpools.inference.encode import PartFile
from mlpools.inference.finish import Tally
from mlpools.inference.parts import Committed, Place
from mlpools.storage import Location

SCHEMA = pa.schema({"prediction": pa.int64()})
ROWS = 10


def rows(shard: int) -> pa.Table:
    return pa.table({"prediction": range(shard * ROWS, shard * ROWS + ROWS)}, schema=SCHEMA)


def publish(place: Place, shard: int, maker: str = "1-0-aa", *, by: int = 0) -> Committed:
    """Do what a worker does with the rows of a shard; ``by`` makes its rows differ from another's."""
    file = PartFile(place.scratch(shard, maker), SCHEMA, place.form)
    file.write(rows(shard + by))
    part = file.finish(place.name(shard, maker))
    return place.publish(file.path, Committed((part,), ROWS), shard=shard)


def a_task(url: str, *, uid: str = "uid", attempt: int = 1, mode: str = "Error", **spec: object) -> Task:
    return Task(
        namespace="team",
        name="scores",
        uid=uid,
        attempt=attempt,
        nodes=1,
        coordinator="127.0.0.1",
        framework=INFERENCE,
        spec={"model": {"url": "/model"}, **spec},
        data={"input": {"parquet": {"url": "/data"}}},
        output={"url": url, "mode": mode},
        checkpoint={},
    )


def complete(place: Place, done: dict[int, Committed], **task: object) -> Manifest:
    tally = Tally(done, {}, dict.fromkeys(done, ROWS))
    return finish.complete(place.target, a_task(place.target.url, **task), tally, SCHEMA, {}, {})  # type: ignore[arg-type]


def read(target: Location) -> list[int]:
    """Return all predictions of a finished output, whose bytes are as the manifest says."""
    manifest = commit.read_manifest(target)
    commit.verify(target, manifest)
    tables = [pq.read_table(pa.BufferReader(target.child(part.name).read())) for part in manifest.parts]
    values: list[int] = pa.concat_tables(tables).column("prediction").to_pylist()
    return values


def names(target: Location) -> set[str]:
    prefix = target.url.rstrip("/") + "/"
    return {info.url.removeprefix(prefix) for info in target.list(hidden=True)}
