from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlpools_operator.settings import Settings, SettingsError, load
from tests.support.instances import CATALOGUE, FAMILIES

ROOT = Path(__file__).parents[3]
NEEDED = {"MLPOOLS_RUNTIME_IMAGE": "example.test/runtime:1", "MLPOOLS_OPERATOR_NAMESPACE": "mlpools-system"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MLPOOLS_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)


def given(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(f"MLPOOLS_{name.upper()}", value)
    return load()


def test_defaults() -> None:
    settings = load()
    assert settings.namespaces == ()
    assert settings.operator_labels == {}
    assert (settings.http_port, settings.workers, settings.cluster_domain) == (8080, 16, "cluster.local")
    assert (settings.probe_seconds, settings.progress_seconds, settings.sweep_seconds) == (2, 10, 600)
    assert (settings.leader_election, settings.identity) == (True, "")


def test_values(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(
        monkeypatch,
        namespaces="team-a, team-b,,team-a",
        operator_labels="app.kubernetes.io/name=mlpools,component=operator",
        workers="4",
        log_level="debug",
        sweep_seconds="0.5",
    )
    assert settings.namespaces == ("team-a", "team-b")
    assert settings.operator_labels == {"app.kubernetes.io/name": "mlpools", "component": "operator"}
    assert (settings.workers, settings.log_level, settings.sweep_seconds) == (4, "DEBUG", 0.5)


def test_empty_lists_are_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = given(monkeypatch, namespaces="", operator_labels="")
    assert (settings.namespaces, settings.operator_labels) == ((), {})


def test_the_catalogue_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert load().instance_families == {}
    file = tmp_path / "families.json"
    file.write_text(json.dumps(CATALOGUE))
    assert given(monkeypatch, instance_families=str(file)).instance_families == FAMILIES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "name a readable JSON file"),
        ("[]", "input should be a valid dictionary"),
        ('{"Big": {"instance": {"cpu": 1, "memory": "1Gi"}}}', "MLPOOLS_INSTANCE_FAMILIES.Big"),
        ('{"big": {"instance": {"cpu": 1}}}', "MLPOOLS_INSTANCE_FAMILIES.big.instance.memory cannot be"),
        ('{"big": {"instance": {"cpu": 1, "memory": "1Gi"}, "taints": []}}', "big.taints cannot be"),
    ],
)
def test_a_catalogue_that_makes_no_sense_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "families.json"
    file.write_text(text)
    with pytest.raises(SettingsError) as error:
        given(monkeypatch, instance_families=str(file))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("workres", "4", "Unknown setting MLPOOLS_WORKRES; there are MLPOOLS_CLUSTER_DOMAIN"),
        ("workers", "many", "Setting MLPOOLS_WORKERS cannot be 'many': input should be a valid integer"),
        ("workers", "0", "Setting MLPOOLS_WORKERS cannot be '0'"),
        ("http_port", "70000", "Setting MLPOOLS_HTTP_PORT cannot be '70000'"),
        ("http_port", "", "Setting MLPOOLS_HTTP_PORT cannot be ''"),
        ("log_level", "LOUD", "Setting MLPOOLS_LOG_LEVEL cannot be 'LOUD'"),
        ("namespaces", "Team_A", "'Team_A' is not the name of a namespace"),
        ("operator_labels", "app", "write key=value,key=value; 'app' has no value"),
        ("sweep_seconds", "-1", "Setting MLPOOLS_SWEEP_SECONDS cannot be '-1'"),
        ("instance_families", "/no/such", "cannot be '/no/such': name a readable JSON file"),
        ("notebooks_domain", "*.example.com", "Setting MLPOOLS_NOTEBOOKS_DOMAIN cannot be '*.example.com'"),
        ("ingress_annotations", "a=b", "cannot be 'a=b': write a JSON object"),
        ("ingress_annotations", '{"a": 1}', "MLPOOLS_INGRESS_ANNOTATIONS.a cannot be 1"),
        ("runtime_image", "", "Setting MLPOOLS_RUNTIME_IMAGE cannot be ''"),
    ],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        given(monkeypatch, **{name: value})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NEEDED:
        monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=r"MLPOOLS_RUNTIME_IMAGE is not set\. .*NAMESPACE is not set"):
        load()


@pytest.mark.parametrize(
    "name",
    [
        "MLPOOLS_SERVICE_HOST",
        "MLPOOLS_SERVICE_PORT",
        "MLPOOLS_SERVICE_PORT_HTTP",
        "MLPOOLS_PORT",
        "MLPOOLS_PORT_8080_TCP",
        "MLPOOLS_PORT_8080_TCP_ADDR",
        "MLPOOLS_OPERATOR_SERVICE_HOST",
    ],
)
def test_what_kubernetes_adds_for_a_service_is_no_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:8080")
    assert load() == Settings()


def test_the_program_says_one_line_and_ends_with_2() -> None:
    environment = {
        **NEEDED,
        "MLPOOLS_NO_SUCH": "1",
        "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'workloads'}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "mlpools_operator"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Unknown setting MLPOOLS_NO_SUCH;")
    assert done.stderr.count("\n") == 1
