"""What a driver's failure means, as one sentence without a secret in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from mlpools.errors import DataNotReadable

_SHOWN_QUERY = 60
#: What libpq, Snowflake's driver and sockets say of a connection that is gone or a server that restarts.
_LOST = re.compile(
    r"server closed the connection|connection to server was lost|no connection to the server|broken pipe"
    r"|terminating connection|could not (receive|send) data|SSL SYSCALL|SSL connection has been closed"
    r"|shutting down|starting up|not yet accepting connections|in recovery mode|unexpected EOF"
    r"|connection (refused|reset|timed out)|timeout expired|i/o timeout|translate host name|no such host"
    r"|Failed to begin transaction|too many clients|remaining connection slots",
    re.I,
)
#: Of a message: the driver's own frame round the server's words.
_FRAMES = re.compile(
    r"^[A-Z_]+: |\[(libpq|SQLite|Snowflake)\] |Failed to (prepare|execute|step|connect)[^:]*: ?"
    r"|could not begin COPY: |Execution error \[\w+\]: |PQgetCopyData\(\) failed: |(ERROR|FATAL):  "
    r"|\n?(LINE \d+:|Query was:|query:).*| SQLSTATE: \w+| Vendor code: \d+",
    re.S,
)
#: What the server says -> what a person may do about it.
_REMEDIES: Mapping[str, str] = {
    r"password authentication|no password supplied|Incorrect username": "Check user and password",
    r"no pg_hba.conf entry": "Ask the administrator whether it takes this user from here, or wants TLS",
    r"translate host name|no such host": "Check the name of the host",
    r"connection refused": "Check host and port, and whether the server runs",
    r"timeout expired|timed out|i/o timeout": "Check host and port, and whether a network policy is between",
    r"certificate|support SSL|SSL error|tls:": "Check sslmode and sslrootcert (the Secret's key ca.crt)",
    r"database \S+ does not exist": "Check the database's name",
    r"relation|no such table|Table with name": "Check the table's name and schema",
    r"permission denied|not authorized": "Have this user granted the right to it",
    r"read-only|readonly": "Only a query that reads can be used: write a SELECT",
    r"multiple commands": "Write one SELECT",
    r"syntax error|Parser Error": "Correct the query",
    r"Type mismatch": "Have all rows give one type, with CAST",
    r"column|Binder Error": "Check the names of the columns",
    r"Conflicting lock|different configuration": "Another program holds the file: end it, or use a copy",
    r"file is not a database|not a valid DuckDB": "Check which database it is of",
    r"canceling statement": "Raise the server's limit for this user, or use partitionOn",
    r"division by zero|invalid input|out of range|overflow": "Mend the expression, or leave such rows out",
}


class ConnectionLost(DataNotReadable):
    """The server went away; another connection may succeed."""


def short(query: str) -> str:
    """Return the beginning of a query, for messages."""
    line = " ".join(query.split())
    return line if len(line) <= _SHOWN_QUERY else line[: _SHOWN_QUERY - 1] + "…"


def translated(
    error: BaseException, place: str, scrub: Callable[[str], str] = str, query: str = ""
) -> DataNotReadable:
    """Return what went wrong in one sentence: where, the server's own words, and what to do.

    Args:
        error: of the driver.
        place: the database, without its password.
        scrub: takes secrets out of a message.
        query: what was asked; empty when connecting failed.
    """
    words = scrub(str(error))
    what = f"The query {short(query)!r} on {place} failed" if query else f"{place} cannot be reached"
    kind = ConnectionLost if _LOST.search(words) else DataNotReadable
    return kind(sentence(what, words or type(error).__name__))


def sentence(what: str, words: str) -> str:
    """Return what failed, the server's own words, and what to do."""
    told = said(words)
    usual = "Check whether the server is well" if _LOST.search(words) else ""
    remedy = next((text for pattern, text in _REMEDIES.items() if re.search(pattern, told, re.I)), usual)
    return f"{what}: {told}. {remedy}." if remedy else f"{what}: {told}."


def said(text: str) -> str:
    """Return the server's words without the frame that a driver puts round them."""
    bare = re.split(r"\n(?:LINE \d+:|Query was:|query:)", text)[0]
    while (cut := _FRAMES.sub("", bare).strip()) != bare:
        bare = cut
    return bare.partition("\n")[0].rstrip(" .;!")  # what follows is advice to administrators
