"""URLs have one spelling, and local places do what remote ones do."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.errors import DataNotReadable, InvalidSpec, OutputNotWritable
from mlpools.storage import FileMissing, credentials, locate, match, ranges
from mlpools.storage.urls import parse


def test_a_url_has_one_spelling() -> None:
    assert locate("/a//b/../c/").url == "/a/c"
    assert locate("a/b").url == str(Path.cwd() / "a/b")
    assert locate("file:///a%20b/c").url == "/a b/c"
    assert locate("s3://bucket//a/b/").url == "s3://bucket/a/b"
    assert locate("s3://bucket/").url == "s3://bucket"
    assert locate("https://host:8443/a%20b?".rstrip("?")).url == "https://host:8443/a%20b"
    assert locate("abfss://data@account.dfs.core.windows.net/x").url.endswith("windows.net/x")
    for url in ("/a/b", "s3://bucket/a/b", "https://host/a%20b/%C3%BC", "az://c/x y"):
        assert locate(locate(url).url) == locate(url)


def test_places_near_a_place() -> None:
    for url in ("/a/b", "s3://bucket/a/b", "gs://bucket/a/b"):
        place = locate(url)
        assert place.child("c/d").url == f"{url}/c/d"
        assert place.child("c").parent == place
        assert place.name == "b"
        for name in ("", "..", "../x", "x/../../y"):
            with pytest.raises(ValueError, match="no name below"):
                place.child(name)
    assert locate("s3://bucket").child("a").url == "s3://bucket/a"
    assert locate("s3://bucket/a").parent == locate("s3://bucket")
    assert locate("s3://bucket").parent == locate("s3://bucket")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file://relative/path", "no URL that can be used"),
        ("ftp://host/x", "ftp:// is no storage"),
        ("s3://", "no bucket"),
        ("s3://bucket/../other", r"\. or \.\."),
        ("s3://key:hunter2@bucket/x", "user or password .* environment"),
        ("https://joe:hunter2@host/x", "user or password"),
        ("https://joe@host/x", "user or password"),
        ("abfss://box:hunter2@account.dfs.core.windows.net/x", "user or password"),
        ("https://host/x?X-Amz-Signature=hunter2", "signed URL is a password"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_secret(url: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as told:
        locate(url)
    assert "hunter2" not in str(told.value)


def test_a_local_file_s_life(tmp_path: Path) -> None:
    place = locate(tmp_path / "new" / "a")
    assert not place.exists()
    with pytest.raises(FileMissing, match="is not there; is the data mounted"):
        place.read()
    place.write(b"one")
    info = place.info()
    assert (place.read(), place.read_range(1, 9), info.size) == (b"one", b"ne", 3)
    with place.open(info) as file:
        assert file.read() == b"one"
    with pytest.raises(FileExistsError):
        place.write(b"two", once=True)
    (tmp_path / "source").write_bytes(b"three")
    with pytest.raises(FileExistsError):
        place.write_file(tmp_path / "source", once=True)
    place.write_file(tmp_path / "source")
    assert place.read() == b"three"
    os.utime(tmp_path / "new" / "a", ns=(1, 1))
    with pytest.raises(DataNotReadable, match=r"was replaced .* new files"):
        place.open(info)
    place.delete()
    place.delete()
    assert place.parent.exists()
    place.parent.delete_tree()
    place.parent.delete_tree()
    assert not place.parent.exists()
    assert locate(tmp_path / "x").honours_once()


def test_what_a_volume_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OutputNotWritable, match=r"file/below cannot be written: "):
        locate(tmp_path / "file" / "below").write(b"x")
    with pytest.raises(FileMissing, match="is no file"):
        locate(tmp_path).info()


def test_local_folders_and_globs(tmp_path: Path) -> None:
    for name in ("a.parquet", "x/b.parquet", "x/y/c.parquet", "_x/d.parquet", ".e.parquet", "f.txt"):
        locate(tmp_path / name).write(b"1")
    (tmp_path / "x" / "up").symlink_to(tmp_path / "x")  # a circle

    def found(pattern: str, *suffixes: str) -> list[str]:
        return [info.url.removeprefix(f"{tmp_path}/") for info in match(f"{tmp_path}{pattern}", suffixes)]

    assert found("", ".parquet") == ["a.parquet", "x/b.parquet", "x/y/c.parquet"]
    assert found("/*") == ["a.parquet", "f.txt"]
    assert found("/x/**/*.parquet") == ["x/b.parquet", "x/y/c.parquet"]
    assert found("/.e.parquet") == [".e.parquet"]
    assert match([str(tmp_path / "a.parquet"), f"file://{tmp_path}/*.parquet"], [".parquet"]) == match(
        str(tmp_path / "a.parquet")
    )
    with pytest.raises(DataNotReadable, match="is not there or holds no file"):
        match(f"{tmp_path}/z*")


def test_credentials_are_named_and_not_shown() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "hunter2", "AWS_SECRET_ACCESS_KEY": "hunter2"}
    assert credentials.source("s3", environ) == "the key in AWS_ACCESS_KEY_ID"
    role = {"AWS_ROLE_ARN": "hunter2", "AWS_WEB_IDENTITY_TOKEN_FILE": "/hunter2"}
    assert "service account" in credentials.source("s3", role)
    assert "instance role" in credentials.source("s3", {})
    assert "AZURE_STORAGE_ACCOUNT_KEY" in credentials.source("az", {"AZURE_STORAGE_ACCOUNT_KEY": "hunter2"})
    assert "GOOGLE_APPLICATION" in credentials.source("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/hunter2"})


spans = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 60)).map(lambda it: (it[0], sum(it))), max_size=12
)


@given(spans, st.integers(0, 40))
def test_joined_ranges_cover_the_same_bytes_and_only_short_gaps(wanted: list[ranges.Range], gap: int) -> None:
    joined = ranges.coalesce(wanted, gap)
    covered = {byte for start, stop in joined for byte in range(start, stop)}
    needed = {byte for start, stop in wanted for byte in range(start, stop)}
    assert needed <= covered
    assert sum(stop - start for start, stop in joined) == len(covered)
    assert all(after[0] - before[1] > gap for before, after in itertools.pairwise(joined))
    for byte in covered - needed:
        before = max(it for it in needed if it < byte)
        after = min(it for it in needed if it > byte)
        assert after - before - 1 <= gap


@given(spans, st.integers(1, 70))
def test_pieces_are_the_ranges_again(wanted: list[ranges.Range], size: int) -> None:
    joined = ranges.coalesce(wanted, 0)
    parts = list(ranges.pieces(joined, size))
    assert ranges.coalesce(parts, 0) == joined
    assert all(0 < stop - start <= size for start, stop in parts)


def test_the_parts_of_urls() -> None:
    address = parse("https://host/a%20b/c")
    assert (address.kind, address.root, address.key) == ("http", "https://host", "a b/c")
    assert address.url_of("d e") == "https://host/d%20e"
