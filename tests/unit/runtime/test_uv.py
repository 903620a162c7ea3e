"""uv as the pods run it: where it is, and what its failures mean."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import INJECTED_ENV
from mlpools.errors import JobError, PackageIndexUnavailable, PackagesNotResolved
from mlpools.runtime import uv

POOL = Packages(index_url="https://pypi.test/simple", credentials_secret="login")


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            """
error: Request failed after 3 retries in 4.4s
  cause: Failed to fetch: https://pypi.test/simple/cat/
  cause: HTTP status server error (503 Service Unavailable) for url (https://pypi.test/simple/cat/)
""",
            PackageIndexUnavailable,
            "https://pypi.test/simple does not answer: Request failed after 3 retries in 4.4s",
        ),
        (
            """
error: Failed to fetch: https://pypi.test/simple/cat/
  cause: error sending request for url (https://pypi.test/simple/cat/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer
""",
            PackageIndexUnavailable,
            "invalid peer certificate: UnknownIssuer. Ask the pool's administrator",
        ),
        (
            """
Resolved 1 package in 31ms
error: Failed to download `cat==1.0`
  cause: Failed to write to the distribution cache
  cause: error decoding response body
  cause: request or response body error
  cause: error reading a body from connection
  cause: end of file before message length reached
""",
            PackageIndexUnavailable,
            "Failed to download `cat==1.0`",
        ),
        (
            """
error: No solution found when resolving dependencies
  cause: Because cat was not found in the package registry and you require cat==1.0, we can conclude that \
your requirements are unsatisfiable.

hint: An index URL (https://pypi.test/simple) could not be queried due to a lack of valid authentication \
credentials (401 Unauthorized)
""",
            PackageIndexUnavailable,
            "refuses https://pypi.test/simple (401 Unauthorized): correct Secret login.",
        ),
        (
            """
error: No solution found when resolving dependencies
  cause: Because all versions of clash depend on numpy<1 and numpy==2.4.6+image, we can conclude that all \
versions of clash cannot be used.
         And because you require clash==1.0, we can conclude that your requirements are unsatisfiable.

hint: Use --prerelease allow.
""",
            PackagesNotResolved,
            "cannot be installed: Because all versions of clash depend on numpy<1 and numpy==2.4.6+image, we "
            "can conclude that all versions of clash cannot be used. And because you require clash==1.0, we "
            "can conclude that your requirements are unsatisfiable. Correct names",
        ),
        (
            """
error: Failed to download `cat==1.0`
  cause: Hash mismatch for `cat==1.0`
""",
            PackagesNotResolved,
            "Hash mismatch for `cat==1.0`. Correct names",
        ),
        ("", PackagesNotResolved, "uv gave no reason"),
    ],
)
def test_whose_fault_it_is(said: str, kind: type[JobError], words: str) -> None:
    error = uv.failure(said.splitlines(), POOL)
    assert type(error) is kind
    assert words in str(error)
    assert "prerelease" not in str(error)


def program(folder: Path, text: str = "#!/bin/sh\n") -> Path:
    folder.mkdir()
    path = folder / "uv"
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_the_one_that_came_with_mlpools_goes_before_those_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anywhere = program(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(anywhere.parent))
    assert uv.find() == str(Path(sysconfig.get_path("scripts"), "uv"))
    brought = program(tmp_path / "mlpools")
    monkeypatch.setenv(INJECTED_ENV, str(brought.with_name("mlpools.pyz")))
    assert uv.find() == str(brought)
    monkeypatch.delenv(INJECTED_ENV)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "nothing"))
    assert uv.find() == str(anywhere)


def test_an_image_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(
        PackagesNotResolved, match="installed by uv, which neither this image has nor the pool's"
    ):
        uv.Uv(tmp_path, POOL)


def test_an_image_that_it_does_not_run_in_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image without glibc has no loader for it, which the kernel calls a file that is not there."""
    foreign = program(tmp_path / "mlpools", f"#!{tmp_path}/no-such-loader\n")
    monkeypatch.setenv(INJECTED_ENV, str(foreign.with_name("mlpools.pyz")))
    with pytest.raises(PackagesNotResolved, match="does not run in this image"):
        uv.Uv(tmp_path, POOL).run("compile")


def test_what_it_says_has_no_passwords(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    says = "#!/bin/sh\necho error: $WORD is wrong at https://bob:t0ken@files.test/cat.whl >&2; exit 1\n"
    monkeypatch.setenv(INJECTED_ENV, str(program(tmp_path / "mlpools", says).with_name("mlpools.pyz")))
    with pytest.raises(PackagesNotResolved) as failed:
        uv.Uv(tmp_path, POOL, "s3cret", {"WORD": "s3cret"}).run("compile")
    said = "error: **** is wrong at https://****@files.test/cat.whl\n"
    assert capfd.readouterr().out == said
    assert said.removeprefix("error: ").strip() in str(failed.value)
