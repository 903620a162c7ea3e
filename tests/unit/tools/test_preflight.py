"""What a machine lacks is read rightly, and all of it is said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tools import preflight
from tools.steps import ToolError

PLAN = """\
Reading package lists...
The following packages will be REMOVED:
  containerd.io docker-ce
Remv docker-ce [5:24.0.7-1] (test)
Remv containerd.io [1.6.24-1] []
Inst containerd (1.6.20~ds1-1 Debian:12 [amd64])
Conf containerd (1.6.20~ds1-1 Debian:12 [amd64])
"""


def status(capabilities: int) -> str:
    return f"Name:\tpython\nCapPrm:\t000001ffffffffff\nCapEff:\t{capabilities:016x}\nCapBnd:\t0\n"


def test_removals_are_read_from_apt_s_plan() -> None:
    assert preflight.removals(PLAN) == ["docker-ce", "containerd.io"]
    assert preflight.removals("Inst containerd (1.6.20)\n") == []


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        (0x1FFFEFFFFFF, []),  # root without CAP_SYS_RESOURCE is enough
        (1 << 12, ["CAP_SYS_ADMIN"]),
        (1 << 21, ["CAP_NET_ADMIN"]),
        (0, ["CAP_NET_ADMIN", "CAP_SYS_ADMIN"]),
    ],
)
def test_capabilities_count_and_not_the_user(held: int, missing: list[str]) -> None:
    assert preflight.missing_capabilities(status(held)) == missing


def test_everything_that_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "missing_capabilities", lambda text: ["CAP_SYS_ADMIN"])
    monkeypatch.setattr(preflight, "_memory_gib", lambda: 3.7)
    monkeypatch.setattr(preflight, "_disk_gib", lambda: 1.2)
    said = preflight.can_run_cluster()
    assert said is not None
    for words in ("CAP_SYS_ADMIN", "4 GiB of memory, 8 are needed", "1 GiB of disk"):
        assert words in said
    assert "\n" not in said
    assert said.endswith(".")


def test_another_system_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert preflight.obstacles() == ["it needs Linux, this is darwin"]


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get that tells what it is asked and plans what the file `plan` says."""
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f"test -e {tmp_path}/policy && echo kept >> {tmp_path}/asked\n"
        f'case "$*" in *--simulate*) cat {tmp_path}/plan;; esac\n'
    )
    program.chmod(0o755)
    (tmp_path / "plan").write_text("Inst containerd (1.6.20)\n")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(
        preflight,
        "missing_packages",
        lambda wanted: sorted(set(wanted.values()) & {"containerd", "chromium"}),
    )
    monkeypatch.setattr(preflight, "POLICY", tmp_path / "policy")
    return tmp_path


def test_packages_are_installed_while_services_are_kept_from_starting(apt: Path) -> None:
    preflight.install()
    asked = (apt / "asked").read_text().splitlines()
    assert asked[-2].startswith("install --no-remove")
    assert "--no-install-recommends" in asked[-2]
    assert asked[-1] == "kept"
    assert not (apt / "policy").exists()


@pytest.mark.parametrize("arguments", [[], ["browser"]])
def test_a_browser_is_installed_on_request_only(
    arguments: list[str], apt: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "obstacles", list)
    assert preflight.main(arguments) == 0
    asked = (apt / "asked").read_text()
    assert "containerd" in asked
    assert ("chromium" in asked) == ("browser" in arguments)


def test_an_administrator_s_own_policy_stays(apt: Path) -> None:
    (apt / "policy").write_text("mine")
    preflight.install()
    assert (apt / "policy").read_text() == "mine"


def test_nothing_is_installed_where_a_package_would_go(apt: Path) -> None:
    (apt / "plan").write_text(PLAN)
    with pytest.raises(ToolError, match=r"would remove docker-ce, containerd\.io"):
        preflight.install()
    assert "--no-remove" not in (apt / "asked").read_text()
    assert not (apt / "policy").exists()


def test_this_machine_has_what_it_says() -> None:
    for package in set(preflight.PACKAGES.values()) - set(preflight.missing_packages()):
        files = [found for found, name in preflight.PACKAGES.items() if name == package]
        for found in files:
            assert subprocess.run(["sh", "-c", f"command -v {found}"], check=False).returncode == 0
