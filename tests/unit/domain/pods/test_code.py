"""What a job's pods are told of its own code, and the files that they are given for it."""

from __future__ import annotations

from typing import Any

import pytest

from mlpools.contract.tasks import Code
from mlpools_operator.api.v1alpha1.code import CodeSpec
from mlpools_operator.domain import reasons
from mlpools_operator.domain.pods import code
from tests.support.built import build, main, pod, variables


def of(**fields: Any) -> CodeSpec:
    return CodeSpec.model_validate(fields)


ARCHIVE = of(url="https://files.test/code.tar.gz", sha256="0a" * 32)
GIT = {"url": "https://git.test/team/code", "revision": "main"}


def test_a_job_without_code_knows_nothing_of_it() -> None:
    built = build()
    assert '"code"' not in variables(built)["MLPOOLS_TASK"]
    assert not [it for it in pod(built)["volumes"] + main(built)["volumeMounts"] if "code" in it["name"]]
    assert code.wanted(None) is None
    assert code.volumes(None) == code.mounts(None) == code.required(None) == []


def test_each_place_is_told_as_it_is() -> None:
    assert code.wanted(of(configMap="mine")) == Code(config_map="mine")
    assert code.wanted(ARCHIVE) == Code(url="https://files.test/code.tar.gz", sha256="0a" * 32)
    assert code.wanted(of(git=GIT)) == Code(git_url=GIT["url"], revision="main")
    assert code.wanted(of(git={**GIT, "secret": "login"})) == Code(
        git_url=GIT["url"], revision="main", secret="login"
    )


@pytest.mark.parametrize(
    ("given", "source", "entry"),
    [
        (
            of(configMap="mine"),
            {"configMap": {"name": "mine", "optional": True}},
            {"kind": "ConfigMap", "name": "mine", "path": "/etc/mlpools/code", "files": []},
        ),
        (
            of(git={**GIT, "secret": "login"}),
            {"secret": {"secretName": "login", "optional": True}},
            {"kind": "Secret", "name": "login", "path": "/etc/mlpools/code", "files": []},
        ),
    ],
)
def test_what_is_mounted_is_optional_and_named_by_the_pod(
    given: CodeSpec, source: dict[str, Any], entry: dict[str, Any]
) -> None:
    assert code.volumes(given) == [{"name": "mlpools-code", **source}]
    assert code.mounts(given) == [
        {"name": "mlpools-code", "mountPath": "/etc/mlpools/code", "readOnly": True}
    ]
    assert code.required(given) == [entry]


@pytest.mark.parametrize("given", [ARCHIVE, of(git=GIT)])
def test_what_is_public_needs_no_files(given: CodeSpec) -> None:
    assert code.volumes(given) == code.required(given) == []


def test_what_a_new_attempt_can_cure() -> None:
    assert reasons.rule("CodeNotReadable") is reasons.Retry.NEVER
    assert reasons.rule("CodeUnavailable") is reasons.Retry.COUNTED
