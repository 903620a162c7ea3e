from __future__ import annotations

import pytest

from mlpools.data.sql.failures import ConnectionLost, short, translated


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            'NOT_FOUND: Failed to prepare query: ERROR:  relation "t" does not exist\n'
            "LINE 1: select * from t\n            ^\n\nQuery was: select * from t. SQLSTATE: 42P01",
            'relation "t" does not exist. Check the table\'s name and schema.',
        ),
        (
            "[libpq] Execution error [PGRES_FATAL_ERROR]: ERROR:  division by zero\n",
            "division by zero. Mend the expression, or leave such rows out.",
        ),
        (
            "INVALID_ARGUMENT: [SQLite] Failed to prepare query: no such column: x\nquery: SELECT x",
            "no such column: x. Check the names of the columns.",
        ),
    ],
)
def test_a_failure_is_one_sentence_in_the_servers_words(words: str, expected: str) -> None:
    error = translated(OSError(words), "db", query="SELECT 1")
    assert str(error) == f"The query 'SELECT 1' on db failed: {expected}"


@pytest.mark.parametrize(
    "words",
    [
        "[libpq] PQgetCopyData() failed: server closed the connection unexpectedly\n\tThis probably means …",
        "IO: Failed to prepare query: FATAL:  terminating connection due to a command\nserver closed",
        "IO: [libpq] Failed to begin transaction: ",
        'IO: [libpq] Failed to connect: connection to server at "::1", port 5 failed: Connection refused',
        "IO: [libpq] Failed to connect: FATAL:  the database system is starting up",
        "FATAL:  sorry, too many clients already",
    ],
)
def test_a_lost_connection_is_told_apart(words: str) -> None:
    assert isinstance(translated(OSError(words), "db", query="SELECT 1"), ConnectionLost)


def test_a_query_without_fault_is_not_asked_again() -> None:
    assert not isinstance(translated(OSError("ERROR:  permission denied for table t"), "db"), ConnectionLost)


def test_only_the_beginning_of_a_query_is_shown() -> None:
    assert short("SELECT a,\n       b FROM t") == "SELECT a, b FROM t"
    assert len(short("x" * 1000)) == 60
