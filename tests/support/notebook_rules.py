"""The rules of NotebookRuntime: those about pods, which it shares with jobs, and its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tests.support.api_rules import JOB_RULES, Case, Changes, Transition
from tests.support.api_rules import OPERATOR_RULES as OPERATOR_RULES_OF_OTHERS

KIND = "NotebookRuntime"

#: A job's volumes are there before its rules about them are tried; a notebook has none of its own.
_DATA = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "flights"}}]}


def _shared() -> Iterator[Case]:
    """Return the cases of a TrainingJob that are about its pods."""
    for case in JOB_RULES:
        of_the_pods = case.where.startswith(("spec.env", "spec.volume"))
        if of_the_pods or (case.where == "spec" and case.message.startswith("must name one of volumes")):
            yield Case(KIND, case.where, case.message, {**_DATA, **case.refused}, {**_DATA, **case.accepted})


def _schedules(cases: Iterable[Case]) -> Iterator[Case]:
    """Return the cases of a TrainingJob that are about its schedule."""
    document = {"notebook": "daily.ipynb"}

    def of_a_notebook(changes: Changes) -> Changes:
        return {"schedule": {**changes["schedule"], **document}}

    for case in cases:
        if case.where.startswith("spec.schedule"):
            yield Case(
                KIND, case.where, case.message, of_a_notebook(case.refused), of_a_notebook(case.accepted)
            )


def _parameters(given: Mapping[str, Any]) -> Changes:
    return {"schedule": {"cron": "0 2 * * *", "notebook": "daily.ipynb", "parameters": given}}


def _own(where: str, message: str, refused: Changes, accepted: Changes) -> Case:
    return Case(KIND, where, message, refused, accepted)


def _egress() -> Iterator[Case]:
    message = "must be a host's full name and a port"
    for wrong, right in (
        ("pypi:443", "pypi.org:443"),
        ("pypi.org", "a-b.example.com:65535"),
        ("pypi.org:65536", "10.1.2.3:1"),
        ("*.example.com:443", "10.0.0.0/8"),
        ("10.0.0.0", "10.1.2.3/8"),
        ("10.0.0.0/33", "0.0.0.0/0"),
        ("10.0.0.0/08", "::/0"),
        ("fd00::", "fd00::1/8"),
        ("::ffff:10.0.0.1/120", "2001:db8::/32"),
        ("10.0.0.0/255.0.0.0", "255.255.255.255/32"),
    ):
        yield _own("spec.egress[]", message, {"egress": [wrong]}, {"egress": [right]})


def _mount(path: str) -> Changes:
    return {**_DATA, "volumeMounts": [{"name": "data", "mountPath": path}]}


NOTEBOOK_RULES = (
    *_shared(),
    _own("spec", "are the notebook's own", _mount("/workspace"), _mount("/workspace/data")),
    _own(
        "spec",
        "nobody here knows what this image ",
        {"runtime": {"image": "registry/ml/own:1", "packages": ["polars==1.2"]}},
        {"runtime": {"image": "registry/ml/own:1", "packages": ["polars==1.2"]}, "command": ["serve"]},
    ),
    _own("spec.port", "is mlpools' own port", {"port": 8470}, {"port": 8471}),
    _own("spec.storage.size", "above 0", {"storage.size": "0"}, {"storage.size": 1}),
    *_egress(),
    *_schedules(JOB_RULES),
    _own(
        "spec.git.url",
        "must not hold a user or password",
        {"git": {"url": "https://ada:secret@git.test/work", "revision": "main"}},
        {"git": {"url": "https://git.test/work", "revision": "main", "secret": "login"}},
    ),
    _own("spec.idleSeconds", "at least 60 seconds", {"idleSeconds": 59}, {"idleSeconds": 0}),
    _own(
        "spec.cluster", "nodes is above", {"cluster": {"nodes": 1}}, {"cluster": {"nodes": 1, "maxNodes": 1}}
    ),
)

#: Rules that CEL cannot express.
NOTEBOOK_OPERATOR_RULES = (
    *_schedules(OPERATOR_RULES_OF_OTHERS),
    *(
        _own(
            "spec.schedule.parameters",
            "variables of Python",
            _parameters({wrong: 1}),
            _parameters({right: 1}),
        )
        for wrong, right in (("for", "four"), ("1st", "_1"), ("a-b", "a_b"), ("größe", "size"))
    ),
    _own(
        "spec.schedule.parameters",
        "at most 3800 characters",
        _parameters({"text": 3799 * "a"}),
        _parameters({"text": 3798 * "a"}),
    ),
)

NOTEBOOK_TRANSITIONS = (
    Transition(
        KIND,
        "spec.computePool",
        "computePool cannot be changed",
        {},
        {"computePool": "other"},
        {"runtime.image": "registry/ml/notebook:2", "suspend": True, "idleSeconds": 0},
    ),
    Transition(
        KIND,
        "spec.storage.size",
        "can grow, not shrink",
        {},
        {"storage.size": "9Gi"},
        {"storage.size": "11Gi", "storage.retain": False},
    ),
    Transition(
        KIND,
        "spec.storage",
        "stays in its storage class",
        {},
        {"storage.storageClassName": "fast"},
        {"storage.fsGroup": 1001},
    ),
)
