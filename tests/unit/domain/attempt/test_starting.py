from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from mlpools_operator.domain.attempt import starting
from mlpools_operator.domain.attempt.starting import Trouble
from mlpools_operator.domain.observed import PodChild
from tests.support.domain_values import NOW, a_job_child, a_pod

SEARCH = starting.Search(90, "large")


def _trouble(pods: Sequence[PodChild], nodes: int = 2) -> Trouble | None:
    return starting.trouble(a_job_child(nodes=nodes), pods, nodes, SEARCH, 90.0)


def _pending(rank: int = 0, **changes: Any) -> PodChild:
    return a_pod(rank, **{"phase": "Pending", "ready": False, "started": 0.0, **changes})


def _homeless(rank: int, words: str = "") -> PodChild:
    return _pending(rank, node="", scheduled=0.0, unschedulable=words)


def test_pods_that_run_have_no_trouble() -> None:
    assert _trouble([a_pod(0), a_pod(1)]) is None


def test_a_pod_without_a_machine_waits_for_capacity() -> None:
    found = _trouble([a_pod(0), _homeless(1, "0/2 nodes are available: 2 Insufficient cpu.")])
    assert found is not None
    assert (found.reason, found.until) == ("Unschedulable", NOW + 90)
    assert found.message == (
        "No machine of family large for 1 of 2 pods: 0/2 nodes are available: 2 Insufficient cpu. "
        "Add machines with that much cpu free, or have the pool's shape ask for less"
    )


def test_what_nobody_told_is_shown_later_than_what_the_scheduler_says() -> None:
    """A busy Job controller or scheduler is no trouble yet, and telling each step would make it busier."""
    told, untold = _trouble([a_pod(0), _homeless(1, "0/2 nodes.")]), _trouble([a_pod(0), _homeless(1)])
    unmade = _trouble([a_pod(0)])
    shown = [found.shown - NOW for found in (told, untold, unmade) if found]
    assert shown == [starting.SHOW_SECONDS, starting.UNTOLD_SECONDS, starting.UNTOLD_SECONDS]


def test_steps_that_nobody_told_of_are_not_counted() -> None:
    """Each number would be another status, of each gang in a busy cluster."""
    unmade = [_trouble([a_pod(rank) for rank in range(made)], nodes=4) for made in (1, 2, 3)]
    homes = [[a_pod(rank) if rank < placed else _homeless(rank) for rank in range(4)] for placed in (1, 2, 3)]
    homeless = [_trouble(pods, nodes=4) for pods in homes]
    for found in (unmade, homeless):
        [_] = {it and it.message for it in found}


def test_pods_that_are_not_made_are_refused() -> None:
    found = _trouble([a_pod(0)], nodes=3)
    assert found is not None
    assert (found.reason, found.until) == ("PodsRefused", NOW + starting.MAKE_SECONDS)
    assert "`kubectl describe job flights-1 -n team-a`" in found.message


@pytest.mark.parametrize(
    ("waiting", "words", "reason"),
    [
        ("ImagePullBackOff", 'Back-off pulling image "nowhere:1"', "ImagePullFailed"),
        ("InvalidImageName", "couldn't parse image reference", "ImagePullFailed"),
        ("CreateContainerConfigError", 'secret "s3" not found', "SecretMissing"),
        ("CreateContainerConfigError", "couldn't find key token in Secret team-a/s3", "SecretMissing"),
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root",
            "PodsRefused",
        ),
    ],
)
def test_a_container_that_cannot_be_made(waiting: str, words: str, reason: str) -> None:
    found = _trouble([a_pod(0), _pending(1, waiting=waiting, waiting_message=words)])
    assert found is not None
    assert (found.reason, found.message, found.until) == (reason, words, NOW + starting.HINDRANCE_SECONDS)
    assert found.pod is not None
    assert found.pod.rank == 1


@pytest.mark.parametrize(
    ("waiting", "words", "reason", "told"),
    [
        (
            "ImagePullBackOff",
            'Back-off pulling image "x:1"',
            "ImagePullFailed",
            "init container 'mount': Back-off pulling image \"x:1\"",
        ),
        (
            "CreateContainerConfigError",
            'secret "nfs" not found',
            "SecretMissing",
            "init container 'mount': secret \"nfs\" not found",
        ),
        (
            "",
            "",
            "StartTimeout",
            "1 of 2 containers did not start in 90 s (startTimeoutSeconds): "
            "init container 'mount': it has not ended",
        ),
    ],
)
def test_an_init_container_in_the_way_is_named(waiting: str, words: str, reason: str, told: str) -> None:
    pod = _pending(1, init_container="mount", waiting=waiting, waiting_message=words)
    found = _trouble([a_pod(0), pod])
    assert found is not None
    assert (found.reason, found.message) == (reason, told)


def test_a_container_that_just_does_not_start_is_given_up_at_last() -> None:
    words = 'MountVolume.SetUp failed for volume "data"'
    found = _trouble([a_pod(0), _pending(1, waiting="ContainerCreating", waiting_message=words)])
    assert found is not None
    assert (found.reason, found.until) == ("StartTimeout", NOW + 90)
    assert found.shown == found.until


def test_what_gives_the_attempt_up_first_is_told() -> None:
    pods = [_homeless(0), _pending(1, waiting="ErrImagePull")]
    found = _trouble(pods)
    assert found is not None
    assert found.reason == "ImagePullFailed"
