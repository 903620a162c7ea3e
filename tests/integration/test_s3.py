"""Storage against a real S3 server."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.storage import FileMissing, client, locate, match, ranges
from tests.support.s3_server import S3Server
from tests.support.store_environment import use_store

pytestmark = [pytest.mark.integration, pytest.mark.full]
MIB = 1 << 20


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def server(running: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> S3Server:
    use_store(running, monkeypatch, tmp_path, patience=20)
    return running


def test_an_object_s_life(server: S3Server, tmp_path: Path) -> None:
    server.make_bucket("life")
    place = locate("s3://life/a/b c=ü+%41.txt")
    with pytest.raises(FileMissing):
        place.read()
    place.write(b"one")
    place.write(b"two")
    assert (place.read(), place.read_range(1, 9), place.info().size) == (b"two", b"wo", 3)
    assert [info.url for info in locate("s3://life").list()] == [place.url]
    assert locate("s3://life").list() == [place.info()]
    content = random.Random(1).randbytes(40 * MIB + 5)
    (tmp_path / "large").write_bytes(content)
    place.write_file(tmp_path / "large")
    info = place.info()
    assert ranges.fetch(info, 17 * MIB + 1, 35 * MIB) == content[17 * MIB + 1 : 35 * MIB]
    with place.open(info) as file:
        assert file.read_at(1000, len(content) - 500) == content[-500:]
    place.write(b"")
    assert place.read() == b""
    place.delete()
    place.delete()
    assert not place.parent.exists()


def test_folders_globs_and_markers(server: S3Server) -> None:
    bucket = server.make_bucket("folders")
    for name in ("t/x=1/a.parquet", "t/x=2/b.parquet", "t/_SUCCESS", "t/.tmp/c.parquet", "tt/d.parquet"):
        locate(f"s3://folders/{name}").write(b"x")
    (bucket / "t" / "empty").mkdir()  # what a console makes when a person makes a folder
    assert [info.url for info in match("s3://folders/t")] == [
        "s3://folders/t/x=1/a.parquet",
        "s3://folders/t/x=2/b.parquet",
    ]
    assert len(match("s3://folders/*/x=*/*.parquet")) == 2
    with pytest.raises(DataNotReadable, match="is not there or holds no file"):
        match("s3://folders/t/nothing")
    locate("s3://folders/t").delete_tree()
    assert [info.url for info in locate("s3://folders").list(hidden=True)] == ["s3://folders/tt/d.parquet"]


def test_more_objects_than_a_page_of_the_listing_has(server: S3Server) -> None:
    bucket = server.make_bucket("many")
    (bucket / "t").mkdir()
    for i in range(1_050):
        (bucket / f"t/{i:05}").write_bytes(b"x")
    assert len(match("s3://many/t")) == 1_050


def test_of_many_creators_one_wins(server: S3Server) -> None:
    server.make_bucket("race")
    assert locate("s3://race/output").honours_once()
    assert locate("s3://race").list(hidden=True) == []
    place = locate("s3://race/commit")
    together = threading.Barrier(8)

    def create(i: int) -> int | None:
        together.wait(30)
        try:
            place.write(b"writer %d" % i, once=True)
        except FileExistsError:
            return None
        return i

    with ThreadPoolExecutor(8) as pool:
        winners = [i for i in pool.map(create, range(8)) if i is not None]
    assert len(winners) == 1
    assert place.read() == b"writer %d" % winners[0]


def test_a_replaced_object_is_noticed(server: S3Server) -> None:
    server.make_bucket("replaced")
    place = locate("s3://replaced/a")
    place.write(b"one")
    info = place.info()
    place.write(b"two")
    with pytest.raises(DataNotReadable, match="was replaced since"):
        ranges.fetch(info, 0, 3)


def test_wrong_credentials_and_buckets(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.make_bucket("closed")
    locate("s3://closed/a").write(b"x")
    with pytest.raises(DataNotReadable, match=r"there is no s3://absent at AWS_ENDPOINT_URL"):
        match("s3://absent/x")
    with pytest.raises(OutputNotWritable, match=r"there is no s3://absent"):
        locate("s3://absent/x").write(b"x")
    monkeypatch.setattr(client, "_stores", {})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    for work in (lambda: match("s3://closed/a"), lambda: match("s3://closed/*")):
        with pytest.raises(
            DataNotReadable, match=r"\(SignatureDoesNotMatch\) to the key in AWS_ACCESS_KEY_ID"
        ):
            work()
    with pytest.raises(OutputNotWritable, match="SignatureDoesNotMatch"):
        locate("s3://closed/a").write(b"y", once=True)


def test_a_server_that_crashes_and_comes_back_is_waited_for(server: S3Server) -> None:
    server.make_bucket("crash")
    content = random.Random(2).randbytes(24 * MIB)
    place = locate("s3://crash/a")
    place.write(content)
    info = place.info()
    server.kill()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(ranges.fetch, info, 5, len(content))
        server.start()
        assert reading.result(timeout=60) == content[5:]


def test_data_in_a_bucket(server: S3Server) -> None:
    bucket = server.make_bucket("data")
    table = pa.table({"x": range(100_000), "y": [i / 7 for i in range(100_000)]})
    (bucket / "t").mkdir()
    for i in range(4):
        pq.write_table(table.slice(i * 25_000, 25_000), bucket / f"t/{i}.parquet", row_group_size=5_000)
    connector = DataConnector.from_parquet("s3://data/t/*.parquet")
    assert connector.num_rows == 100_000
    assert connector.to_arrow().equals(table)
    server.kill()
    try:
        assert connector.to_arrow().equals(table)  # from the cache
    finally:
        server.start()
