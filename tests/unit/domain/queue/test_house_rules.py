from __future__ import annotations

from typing import Any

import pytest

from mlpools_operator.domain.pool.ledger import Brings, Candidate, Surroundings, Verdict
from mlpools_operator.domain.queue import admission
from tests.support import trainingjob
from tests.support.domain_values import NOW, a_candidate, a_job, a_job_child, a_pool

DIGEST = f"registry/ml/train@sha256:{'0a' * 32}"


def verdict(candidate: Candidate, **pool: Any) -> Verdict:
    return admission.decide(a_pool(**pool), [candidate], Surroundings(), NOW).verdicts[candidate.uid]


def with_image(image: str, /, **runtime: Any) -> Verdict:
    return verdict(a_candidate("flights", brings=Brings(image)), runtime=runtime)


@pytest.mark.parametrize(
    ("image", "runtime"),
    [
        ("any:1", {}),
        ("registry/ml/train:1", {"allowedImages": ["other/*", "registry/ml/*"]}),
        ("registry/ml/deep/train:1", {"allowedImages": ["registry/ml/*"]}),
        ("registry/train:1", {"allowedImages": ["registry/train:1"]}),
        ("own:1", {"image": "own:1", "allowedImages": []}),
        ("", {"allowedImages": [], "requireDigest": True}),
        (DIGEST, {"requireDigest": True, "allowedImages": ["registry/*"]}),
    ],
)
def test_an_image_that_is_taken(image: str, runtime: dict[str, Any]) -> None:
    assert with_image(image, **runtime).admit


@pytest.mark.parametrize(
    ("image", "runtime", "words"),
    [
        (
            "registry/mlx/train:1",
            {"allowedImages": ["registry/ml/*"]},
            "only its own and registry/ml/*. Choose",
        ),
        (
            "Registry/ml/train:1",
            {"allowedImages": ["registry/ml/*"]},
            "does not take the image Registry/ml/train:1",
        ),
        ("registry/train:10", {"allowedImages": ["registry/train:1"]}, "does not take"),
        ("registry/ml/other:1", {"allowedImages": ["registry/*/train:1"]}, "does not take"),
        ("evil/registry/ml/train:1", {"allowedImages": ["registry/ml/*"]}, "does not take"),
        ("own:2", {"image": "own:1", "allowedImages": []}, "only its own. Choose another"),
        (
            "registry/train:1",
            {"requireDigest": True},
            "takes images by their digest only: name registry/train:1 as",
        ),
        ("registry/train@sha256:12", {"requireDigest": True}, "by their digest only"),
    ],
)
def test_an_image_that_is_refused(image: str, runtime: dict[str, Any], words: str) -> None:
    refused = with_image(image, **runtime)
    assert (refused.admit, refused.reason, refused.position) == (False, "InvalidSpec", 0)
    assert refused.message.startswith("spec.runtime.image: pool cpu ")
    assert words in refused.message


def test_a_pattern_of_many_stars_costs_nothing() -> None:
    assert not with_image("a" * 1000, allowedImages=["*a" * 300 + "b"]).admit


TEMPLATE = {
    "volumes": [{"name": "certs", "configMap": {"name": "certs"}}, {"name": "mlpools-tmp", "emptyDir": {}}],
    "containers": [{"name": "main", "volumeMounts": [{"name": "certs", "mountPath": "/etc/ssl"}]}],
}


@pytest.mark.parametrize(
    ("brings", "words"),
    [
        (Brings(volumes=("data", "certs")), "spec.volumes: pool cpu has a volume named certs itself."),
        (
            Brings(mounts=("/data", "/etc/ssl")),
            "spec.volumeMounts: pool cpu mounts a volume at /etc/ssl itself.",
        ),
    ],
)
def test_names_that_the_pool_takes_itself(brings: Brings, words: str) -> None:
    candidate = a_candidate("flights", brings=brings)
    assert verdict(candidate).admit
    refused = verdict(candidate, **{"podTemplate.spec": TEMPLATE})
    assert (refused.reason, refused.message.startswith(words)) == ("InvalidSpec", True)
    others = a_candidate("flights", brings=Brings(volumes=("data",), mounts=("/data", "/etc/ssl/mine")))
    assert verdict(others, **{"podTemplate.spec": TEMPLATE}).admit


def test_one_that_is_refused_holds_nobody_back_and_one_that_runs_goes_on() -> None:
    image = Brings("mine:1")
    refused = a_candidate("refused", 4, created=NOW - 90, brings=image)
    runs = a_candidate("runs", 2, held=2, admitted=True, brings=image)
    small = a_candidate("small", 2)
    pool = a_pool(maxNodes=4, runtime={"allowedImages": []})
    verdicts = admission.decide(pool, [refused, runs, small], Surroundings(), NOW).verdicts
    assert verdicts[runs.uid].admit
    assert verdicts[small.uid].admit
    assert verdicts[refused.uid].reason == "InvalidSpec"


def test_a_candidate_says_what_its_job_brings() -> None:
    job = a_job(runtime={"image": "mine:1"})
    found = trainingjob.candidate(job, [a_job_child()], [], NOW)
    assert found is not None
    assert found.brings == Brings("mine:1", ("data",), ("/data",))
