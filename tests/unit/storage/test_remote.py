"""Objects are read and written as they are, whatever the network and the store do meanwhile."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from mlpools.errors import DataNotReadable, OutputNotWritable
from mlpools.storage import FileMissing, client, contact, locate, match, ranges, remote
from tests.support.object_store import Fault, ObjectStore
from tests.support.waiting import PATIENCE

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
BIG = locate("s3://bucket/big")


@pytest.fixture
def big(store: ObjectStore) -> ObjectStore:
    store.objects["bucket/big"] = CONTENT
    return store


def test_an_object_s_life(store: ObjectStore, tmp_path: Path) -> None:
    place = locate("s3://bucket/a/b c=ü.txt")
    assert not place.exists()
    with pytest.raises(FileMissing, match=r"s3://bucket/a/b c=ü\.txt is not there"):
        place.read()
    place.write(b"one")
    assert place.exists()
    assert place.parent.exists()
    assert (place.read(), place.read_range(1, 9)) == (b"one", b"ne")
    assert place.info().size == 3
    (tmp_path / "two").write_bytes(CONTENT * 5)
    place.write_file(tmp_path / "two")
    assert place.read() == CONTENT * 5
    assert [info.url for info in locate("s3://bucket").list()] == [place.url]
    place.delete()
    place.delete()
    assert not place.exists()
    place.write(b"")
    assert place.read() == b""
    locate("s3://bucket").delete_tree()
    assert store.objects == {}


def test_names_of_folders_and_globs(store: ObjectStore) -> None:
    names = [
        "t/x=1/a.parquet",
        "t/x=2/b.parquet",
        "t/_SUCCESS",
        "t/.tmp/c.parquet",
        "t/note.txt",
        "tt/z.parquet",
    ]
    store.objects.update({f"bucket/{name}": b"x" for name in names})

    def found(url: str, *suffixes: str) -> list[str]:
        return [info.url.removeprefix("s3://bucket/") for info in match(url, suffixes)]

    assert found("s3://bucket/t/", ".parquet") == ["t/x=1/a.parquet", "t/x=2/b.parquet"]
    assert found("s3://bucket/t/x=*/*.parquet") == ["t/x=1/a.parquet", "t/x=2/b.parquet"]
    assert found("s3://bucket/**/*.parquet")[-1] == "tt/z.parquet"
    assert found("s3://bucket/t/note.txt", ".parquet") == ["t/note.txt"]
    assert len(locate("s3://bucket/t").list(hidden=True)) == 5
    with pytest.raises(DataNotReadable, match=r"s3://bucket/u is not there or holds no \.parquet file"):
        match("s3://bucket/u", [".parquet"])


@pytest.mark.parametrize("bare", [True, False])
def test_an_object_has_one_version_however_it_was_found(big: ObjectStore, bare: bool) -> None:
    big.lists_bare_etags = bare
    [listed] = locate("s3://bucket").list()
    assert listed == BIG.info()
    assert ranges.fetch(listed, 0, 10) == CONTENT[:10]


def test_an_open_object_is_a_file_for_arrow(big: ObjectStore) -> None:
    with BIG.open(BIG.info()) as file:
        assert file.size() == len(CONTENT)
        assert file.read_at(1000, 100_000) == CONTENT[100_000:101_000]
        file.seek(len(CONTENT) - 8)
        assert file.read() == CONTENT[-8:]


def test_reading_on_needs_few_requests(big: ObjectStore) -> None:
    info = BIG.info()
    big.asked.clear()
    with BIG.open(info) as file:
        read = b"".join(iter(lambda: file.read(10_000), b""))
    assert read == CONTENT
    assert len(big.asked) <= 8


def test_what_was_announced_is_fetched_once(big: ObjectStore) -> None:
    info = BIG.info()
    big.asked.clear()
    file = BIG.open(info)
    file.prefetch([(0, 1000), (1500, 3000), (3_000_000, 3_000_100)])
    for start, stop in ((0, 1000), (1500, 2000), (2000, 3000), (3_000_000, 3_000_100)):
        file.seek(start)
        assert file.read(stop - start) == CONTENT[start:stop]
    assert sorted(it.range for it in big.asked) == ["bytes=0-2999", "bytes=3000000-3000099"]


@pytest.mark.parametrize("etags", [True, False])
def test_a_body_that_breaks_goes_on_at_the_exact_byte(big: ObjectStore, etags: bool) -> None:
    big.etags = etags
    info = BIG.info()
    big.asked.clear()
    big.faults = [Fault("GET", times=3, cut=1_100_000)]
    assert ranges.fetch(info, 5, 4_000_005) == CONTENT[5:4_000_005]
    starts = [int(it.range.removeprefix("bytes=").split("-")[0]) for it in big.asked]
    assert len(starts) == 4
    assert starts[0] == 5
    assert all(0 < after - before <= 1_100_000 for before, after in itertools.pairwise(starts))


def test_an_object_that_is_replaced_is_noticed_before_a_byte_of_it_is_used(big: ObjectStore) -> None:
    info = BIG.info()
    big.objects["bucket/big"] = CONTENT[::-1]
    with pytest.raises(DataNotReadable, match=r"s3://bucket/big was replaced .* new files"):
        ranges.fetch(info, 0, 10)
    assert big.asked[-1].if_match == f'"{info.version}"'


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("scheme", ["s3", "http"])
def test_an_object_that_is_replaced_while_its_body_breaks_is_noticed(
    big: ObjectStore, scheme: str, heeds: bool
) -> None:
    place = BIG if scheme == "s3" else locate(f"{big.url}/bucket/big")
    big.heeds_if_match = heeds
    info = place.info()

    def replace() -> None:
        big.objects["bucket/big"] = CONTENT[::-1]

    big.faults = [Fault("GET", cut=1_100_000), Fault("GET", before=replace)]
    with pytest.raises(DataNotReadable, match="was replaced"):
        ranges.fetch(info, 0, 4_000_000)


def test_a_short_storm_is_waited_out(big: ObjectStore) -> None:
    big.faults = [Fault("GET", times=3, status=503, code="SlowDown")]
    assert BIG.read() == CONTENT


def test_a_long_storm_ends_in_a_sentence(big: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(client.PATIENCE_ENV, "1")
    big.faults = [Fault("GET", times=1000, status=503, code="SlowDown")]
    with pytest.raises(DataNotReadable) as told:
        BIG.read()
    assert str(told.value) == (
        "s3://bucket/big cannot be read: the store was asked for 1 seconds and answered 503 SlowDown each "
        "time. Try again later; fewer nodes read more gently."
    )
    assert len([it for it in big.asked if it.method == "GET"]) >= 2


def test_one_creator_wins(store: ObjectStore) -> None:
    place = locate("s3://bucket/commit")
    place.write(b"same", once=True)
    with pytest.raises(FileExistsError):
        place.write(b"same", once=True)
    with pytest.raises(FileExistsError):
        place.write(b"other", once=True)
    assert place.read() == b"same"


@pytest.mark.parametrize("keeps", [True, False])
def test_a_create_whose_answer_was_lost_is_a_success(store: ObjectStore, keeps: bool) -> None:
    store.keeps_attributes = keeps
    store.faults = [Fault("PUT", lose_answer=True)]
    locate("s3://bucket/commit").write(b"mine", once=True)
    assert store.objects["bucket/commit"] == b"mine"
    assert len([it for it in store.asked if it.method == "PUT"]) == 2


def test_a_create_whose_answer_was_lost_does_not_take_over_another_s(store: ObjectStore) -> None:
    place = locate("s3://bucket/commit")

    def other_wins() -> None:
        store.objects["bucket/commit"] = b"theirs"

    store.faults = [Fault("PUT", before=other_wins, lose_answer=True)]
    with pytest.raises(FileExistsError):
        place.write(b"mine", once=True)
    assert place.read() == b"theirs"


def test_a_conflict_without_a_winner_is_asked_once_more(store: ObjectStore) -> None:
    store.faults = [Fault("PUT", status=409, code="ConditionalRequestConflict")]
    locate("s3://bucket/commit").write(b"mine", once=True)
    assert store.objects["bucket/commit"] == b"mine"


@pytest.mark.parametrize("honours", [True, False])
def test_a_store_that_ignores_the_condition_is_found_out(store: ObjectStore, honours: bool) -> None:
    store.honours_once = honours
    assert locate("s3://bucket/output").honours_once() is honours
    assert store.objects == {}


def test_a_store_that_refuses_the_condition_is_found_out(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(client.PATIENCE_ENV, "1")
    store.faults = [Fault("PUT", times=1000, status=501, code="NotImplemented")]
    assert locate("s3://bucket/output").honours_once() is False


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (403, "AccessDenied", r"refuses access \(AccessDenied\) to the key in AWS_ACCESS_KEY_ID\. Set AWS_"),
        (403, "RequestTimeTooSkewed", r"the clock of this machine differs too much"),
        (400, "ExpiredToken", r"credentials have expired: the key in AWS_ACCESS_KEY_ID"),
        (
            404,
            "NoSuchBucket",
            r"there is no s3://bucket at AWS_ENDPOINT_URL=http://127\.0\.0\.1:\d+\. Make it",
        ),
        (301, "PermanentRedirect", r"another region\. Set AWS_REGION"),
        (418, "Teapot", r"the store answers 418 Teapot\."),
    ],
)
def test_a_refusal_is_one_sentence_without_secrets(
    big: ObjectStore, status: int, code: str, words: str
) -> None:
    info = BIG.info()
    big.faults = [Fault(times=1000, status=status, code=code)]
    for work in (lambda: ranges.fetch(info, 0, 10), lambda: BIG.list(), lambda: BIG.info()):
        if status == 404 and work.__code__.co_names[0] != "ranges" and "info" in work.__code__.co_names:
            continue  # the answer to HEAD does not tell a bucket from an object
        with pytest.raises(DataNotReadable, match=words) as told:
            work()
        assert "top-secret" not in f"{told.value!r}"
        assert "\n" not in str(told.value)
    with pytest.raises(OutputNotWritable, match=words):
        BIG.write(b"x")


def test_nobody_at_the_end_point(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    monkeypatch.setenv(client.PATIENCE_ENV, "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(
        DataNotReadable, match=r"nobody answers .* at AWS_ENDPOINT_URL_S3=http://127.0.0.1:9\. Ch"
    ):
        BIG.read()


def test_an_end_point_with_a_slip_in_it_is_told_long_before_patience_ends(
    monkeypatch: pytest.MonkeyPatch, store: ObjectStore
) -> None:
    monkeypatch.setenv(client.PATIENCE_ENV, "100")
    monkeypatch.setattr(contact, "SECONDS", 1.0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://no-such-host.invalid:9000")
    with pytest.raises(
        DataNotReadable, match=r"nobody answers for 1 seconds at AWS_ENDPOINT_URL_S3=http://no-"
    ):
        BIG.read()
    with pytest.raises(OutputNotWritable, match="nobody answers for 1 seconds"):
        BIG.write(b"x", once=True)


def test_a_storm_at_the_first_contact_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, big: ObjectStore
) -> None:
    monkeypatch.setattr(contact, "SECONDS", 0.0)
    big.faults = [Fault(times=3, status=503, code="SlowDown")]
    assert BIG.read() == CONTENT


def test_behind_a_proxy_nobody_is_met() -> None:
    contact.meet("http://127.0.0.1:9", 0, {"HTTPS_PROXY": "http://proxy:3128"})
    contact.meet("", 0, {})
    with pytest.raises(contact.NobodyThereError):
        contact.meet("http://127.0.0.1:9", 0, {})


def test_a_file_too_large_for_one_request_is_refused(
    monkeypatch: pytest.MonkeyPatch, store: ObjectStore, tmp_path: Path
) -> None:
    monkeypatch.setattr(remote, "_ONE_REQUEST_BYTES", 3)
    (tmp_path / "file").write_bytes(b"four")
    with pytest.raises(OutputNotWritable, match=r"file has 4 bytes; stores take 3 at most"):
        BIG.write_file(tmp_path / "file", once=True)
    assert store.objects == {}


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, store: ObjectStore) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(DataNotReadable, match=r"no credentials; tried was .* Set AWS_ACCESS_KEY_ID and"):
        BIG.read()


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("s3://bucket/t/a", {"AWS_ENDPOINT_URL": "", "AWS_SKIP_SIGNATURE": "true"}),
        ("gs://bucket/t/a", {"GOOGLE_BASE_URL": "", "GOOGLE_SKIP_SIGNATURE": "true"}),
        (
            "az://bucket/t/a",
            {
                "AZURE_STORAGE_ENDPOINT": "",
                "AZURE_SKIP_SIGNATURE": "true",
                "AZURE_STORAGE_ACCOUNT_NAME": "open",
            },
        ),
    ],
)
def test_a_public_store_is_read_without_credentials(
    monkeypatch: pytest.MonkeyPatch, store: ObjectStore, url: str, variables: dict[str, str]
) -> None:
    for name in store.environment():
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value or store.url)
    store.objects["bucket/t/a"] = CONTENT
    assert locate(url).read() == CONTENT
    if not url.startswith("az:"):  # Azure lists in words of its own
        assert [info.url for info in match(locate(url).parent.url)] == [url]
    assert {asked.authorization for asked in store.asked} == {""}


def test_files_of_a_web_server(big: ObjectStore) -> None:
    big.objects["bucket/a b"] = b"text"
    big.asked.clear()
    place = locate(f"{big.url}/bucket/a%20b")
    assert place.read() == b"text"
    assert {it.path for it in big.asked} == {"/bucket/a b"}
    assert match(place.url) == [place.info()]
    with pytest.raises(DataNotReadable, match="web server has no listing"):
        match(f"{big.url}/bucket/*.parquet")
    with pytest.raises(OutputNotWritable, match="only read"):
        place.write(b"x")


def _read_in_child(queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(BIG.read_range(0, 10))


def test_a_forked_child_reads_too(big: ObjectStore) -> None:
    assert BIG.read_range(0, 10) == CONTENT[:10]  # so that the parent's runtime has threads
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[bytes] = context.Queue()
    child = context.Process(target=_read_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=PATIENCE) == CONTENT[:10]
    finally:
        child.kill()
        child.join()


_FORKS = """
import os
from mlpools.storage import client

class Parents:
    def __del__(self):
        print("freed in", "the parent" if os.getpid() == parent else "the child", flush=True)

parent = os.getpid()
client._stores["s3://bucket"] = Parents()
child = os.fork()
assert bool(client._stores) == bool(child)
if child:
    os.waitpid(child, 0)
    client._stores.clear()
"""


def test_a_forked_child_frees_no_client_of_its_parent() -> None:
    """It could wait for ever for a lock that a thread of its parent's runtime held."""
    ran = subprocess.run([sys.executable, "-c", _FORKS], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["freed in the parent"]


def test_a_location_holds_no_secret(big: ObjectStore) -> None:
    BIG.read_range(0, 1)
    assert pickle.loads(pickle.dumps(BIG)) == BIG
    assert b"top-secret" not in pickle.dumps(BIG)
    assert (
        repr(BIG) == "RemoteLocation(url='s3://bucket/big')" or repr(BIG) == "Location(url='s3://bucket/big')"
    )
