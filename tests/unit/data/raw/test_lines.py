"""Lines of text: each once, whatever the ranges of bytes and the pieces that they are read in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpools.data import DataConnector, ShardedDataConnector
from mlpools.data.formats import text
from mlpools.errors import DataNotReadable, InvalidSpec
from mlpools.gang import Gang

LINES = st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=9))


@settings(max_examples=60, deadline=None)
@given(
    lines=LINES,
    end=st.sampled_from(["\n", "\r\n"]),
    closed=st.booleans(),
    unit_bytes=st.integers(1, 40),
    world_size=st.integers(1, 4),
)
def test_every_line_once(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[str],
    end: str,
    closed: bool,
    unit_bytes: int,
    world_size: int,
) -> None:
    lines = [*lines, "last"]
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes((end.join(lines) + (end if closed else "")).encode())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(text, "_UNIT_BYTES", unit_bytes)
        patched.setattr(text, "_STEP_BYTES", 3)
        connector = DataConnector.from_text_files(str(path))
        assert connector.to_arrow().column("text").to_pylist() == lines
        assert connector.num_rows == len(lines)
        sharded = ShardedDataConnector.from_sources(connector.data_sources)
        shards = [sharded.get_shard(Gang(rank, world_size)) for rank in range(min(world_size, len(lines)))]
        if len(shards) == world_size:
            found = [line for shard in shards for line in shard.to_arrow().column("text").to_pylist()]
            assert found == lines


def test_paths_filter_and_limit(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo\n")
    (tmp_path / "b.txt").write_text("three")
    connector = DataConnector.from_text_files(str(tmp_path), include_paths=True)
    rows = [(row["text"], Path(row["path"]).name) for row in connector.to_arrow().to_pylist()]
    assert rows == [("one", "a.txt"), ("", "a.txt"), ("two", "a.txt"), ("three", "b.txt")]
    limited = DataConnector.from_text_files(str(tmp_path), filter="text like 't%'", limit=1)
    assert limited.to_arrow().to_pydict() == {"text": ["two"]}


def test_an_empty_file_has_no_lines_and_bytes_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "b.txt").write_text("b")
    assert DataConnector.from_text_files(str(tmp_path)).to_arrow().to_pydict() == {"text": ["b"]}
    (tmp_path / "c.txt").write_bytes(b"ab\nc\xff")
    with pytest.raises(DataNotReadable, match=r"c\.txt.* is no UTF-8 text"):
        DataConnector.from_text_files(str(tmp_path)).to_arrow()
    with pytest.raises(InvalidSpec, match=r"Lines are read as UTF-8, not 'latin-1'"):
        DataConnector.from_text_files(str(tmp_path), encoding="latin-1")
