"""Snowflake's driver as far as it goes without an account."""

from __future__ import annotations

import pytest

from mlpools.data import DataConnector
from mlpools.errors import DataNotReadable, InvalidSpec


def test_a_connection_that_is_refused_is_one_sentence_without_the_password() -> None:
    uri = "snowflake://ann:geheim@127.0.0.1:1/SALES/PUBLIC?account=acme&protocol=http&warehouse=WH"
    with pytest.raises(DataNotReadable) as failure:
        DataConnector.from_sql("SELECT 1", uri)
    told = str(failure.value)
    assert told.startswith("snowflake://ann@127.0.0.1:1/SALES/PUBLIC cannot be reached: ")
    assert told.endswith("connection refused. Check host and port, and whether the server runs.")
    assert "geheim" not in told
    assert "\n" not in told


def test_its_driver_reads_in_parallel_by_itself() -> None:
    with pytest.raises(InvalidSpec, match="Leave partitionOn out"):
        DataConnector.from_sql("SELECT 1 AS a", "snowflake://ann:x@acme/SALES", partition_on="a")
