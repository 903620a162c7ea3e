from __future__ import annotations

import pickle
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.data.sql.address import Address, from_folder
from mlpools.errors import InvalidSpec, SecretMissing


def _secret(folder: Path, **keys: str) -> Path:
    for name, text in keys.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@given(st.text(min_size=3, alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])))
def test_a_password_is_seen_nowhere(password: str) -> None:
    password = f"~{password}~"
    address = Address(f"postgresql://ann:{quote(password, safe='')}@db:5432/sales?sslmode=require")
    carried = pickle.loads(pickle.dumps(address))
    for shown in (str(address), repr(address), f"{address}", repr(carried), carried.uri):
        assert password not in shown
        assert quote(password, safe="") not in shown
    said = address.scrub(f'bad token "{quote(password, safe="")}", or {password}')
    assert said == 'bad token "***", or ***'


def test_what_is_shown_names_user_host_and_database() -> None:
    address = Address("postgres://ann:x@db.prod:5433/sales?sslmode=require&password=y")
    assert str(address) == "postgres://ann@db.prod:5433/sales"
    assert address.engine == "postgresql"
    assert address.scrub("x y") == "*** ***"


def test_defaults_leave_what_is_written_alone() -> None:
    address = Address("postgresql://db/sales?options=-c%20x+y&connect_timeout=3")
    assert address.with_defaults(connect_timeout="10", keepalives="1") == (
        "postgresql://db/sales?options=-c%20x+y&connect_timeout=3&keepalives=1"
    )


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mysql://ann:geheim@db/sales", "postgresql://user@host/database"),
        ("geheim", "no URI"),
        ("postgresql://ann:ge/heim@db:port/sales", "%2F"),
    ],
)
def test_what_is_no_uri_is_refused_without_repeating_it(uri: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words) as refused:
        Address(uri)
    assert "heim" not in str(refused.value)


def test_a_secret_with_a_uri(tmp_path: Path) -> None:
    folder = _secret(tmp_path, uri="postgresql://ann:x@db/sales\n", username="ann", password="x", port="5432")
    assert from_folder(folder).uri == "postgresql://ann:x@db/sales"


def test_a_secret_in_parts(tmp_path: Path) -> None:
    folder = _secret(
        tmp_path, host="db", port="5432", username="ann", password="p/:@%", dbname="sales", sslmode="require"
    )
    address = from_folder(folder)
    assert address.uri == "postgresql://ann:p%2F%3A%40%25@db:5432/sales?sslmode=require"


def test_an_authority_in_the_secret_is_checked(tmp_path: Path) -> None:
    folder = _secret(tmp_path, uri="postgresql://ann:x@db/sales", ca__crt="-----BEGIN")
    uri = from_folder(folder).uri
    assert f"sslrootcert={quote(str(tmp_path / 'ca.crt'), safe='')}" in uri
    assert "sslmode=verify-full" in uri


def test_a_secret_of_snowflake(tmp_path: Path) -> None:
    folder = _secret(
        tmp_path,
        driver="snowflake",
        host="acme-x1",
        user="ann",
        password="x",
        database="SALES/PUBLIC",
        warehouse="WH",
    )
    assert from_folder(folder).uri == "snowflake://ann:x@acme-x1/SALES/PUBLIC?warehouse=WH"


def test_a_kubelets_own_names_are_no_keys(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data" / "uri").write_text("x")
    with pytest.raises(SecretMissing, match="is not there or is empty"):
        from_folder(tmp_path)


@pytest.mark.parametrize(
    "keys", [{"user": "ann", "password": "geheim"}, {"password": "geheim", "host": "db"}]
)
def test_a_key_that_is_absent_is_named(tmp_path: Path, keys: dict[str, str]) -> None:
    with pytest.raises(SecretMissing, match="neither a key uri nor a key") as missing:
        from_folder(_secret(tmp_path, **keys))
    assert "geheim" not in str(missing.value)
