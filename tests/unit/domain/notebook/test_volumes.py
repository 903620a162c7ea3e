"""What is said of a volume that a notebook's pod waits for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlpools_operator.domain import naming
from mlpools_operator.domain.notebook.volumes import hindrance, question
from mlpools_operator.domain.observed import ClaimChild, Meta, PodChild, Told

NOW = 1_800_000_000.0
CLAIM = ClaimChild(Meta("nb-alice-workspace", "c", "team-a"), "10Gi", "fast")
BOUND = replace(CLAIM, bound=True)
PLACED = PodChild(
    Meta("nb-alice-0", "p", "team-a", created=NOW - 40),
    rank=0,
    attempt=1,
    job="s",
    node="a",
    scheduled=NOW - 30,
    waiting="ContainerCreating",
)
UNPLACED = replace(PLACED, node="", scheduled=0.0, waiting="")
UNBOUND = "pod has unbound immediate PersistentVolumeClaims."


def told(pod: PodChild, *events: Told, claim: ClaimChild = BOUND) -> tuple[str, str]:
    found = hindrance(events, [pod], claim, NOW)
    return (found.reason, found.message) if found else ("", "")


def event(reason: str, message: str = "", ago: float = 5.0) -> Told:
    return Told(reason, message, NOW - ago)


def test_a_volume_that_cannot_attach_is_told_with_what_to_do() -> None:
    words = 'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) old'
    summary = "Unable to attach or mount volumes: unmounted volumes=[mlpools-workspace]"
    reason, message = told(
        PLACED,
        event("Scheduled", ago=30),
        event("FailedAttachVolume", words, 20),
        event("FailedMount", summary, 1),
    )
    assert reason == "VolumeUnavailable"
    assert message.startswith(f"A volume cannot be attached to machine a: {words}. The machine that has it")


def test_a_volume_that_cannot_be_mounted_is_told_in_the_words_of_the_one_that_fails() -> None:
    words = 'MountVolume.SetUp failed for volume "pvc-1" : mount failed: exit status 32'
    summary = "Unable to attach or mount volumes: unmounted volumes=[mlpools-workspace]"
    _, message = told(PLACED, event("FailedMount", words, 20), event("FailedMount", summary, 1))
    assert message.startswith(f"A volume cannot be mounted on machine a: {words}. It is tried again")
    assert "kubectl describe pod nb-alice-0 -n team-a" in message


def test_what_was_mounted_in_the_end_is_not_told() -> None:
    failed = event("FailedMount", "MountVolume.SetUp failed", 20)
    assert told(PLACED, failed, event("Pulling", "Pulling image", 5)) == ("", "")
    assert told(PLACED, event("Scheduled", ago=20), failed)[0] == "VolumeUnavailable"


def test_a_secret_that_is_not_there_is_named() -> None:
    words = 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found'
    reason, message = told(PLACED, event("FailedMount", words))
    assert reason == "SecretMissing"
    assert 'secret "keys" not found' in message


@pytest.mark.parametrize("unschedulable", ["", UNBOUND])
def test_a_claim_that_gets_no_volume_is_told_in_the_words_of_its_class(unschedulable: str) -> None:
    words = 'storageclass.storage.k8s.io "fast" not found'
    pod = replace(UNPLACED, unschedulable=unschedulable)
    reason, message = told(pod, event("ProvisioningFailed", words), claim=CLAIM)
    assert reason == "VolumeUnavailable"
    assert "claim nb-alice-workspace, gets no volume of storage class fast: " + words in message
    assert "name another storage.storageClassName" in message


def test_a_provisioner_that_does_nothing_is_told_after_a_minute() -> None:
    waits = event("ExternalProvisioning", "Waiting for a volume to be created by 'csi.test'")
    assert told(UNPLACED, waits, claim=CLAIM) == ("", "")
    older = replace(UNPLACED, meta=replace(UNPLACED.meta, created=NOW - 60))
    assert "csi.test" in told(older, waits, claim=CLAIM)[1]


@pytest.mark.parametrize(
    ("pod", "claim"),
    [
        (replace(PLACED, started=NOW), BOUND),
        (replace(PLACED, waiting="ErrImagePull"), BOUND),
        (replace(PLACED, gone_by=NOW + 30), BOUND),
        (replace(UNPLACED, unschedulable="0/3 nodes are available: 3 Insufficient cpu."), CLAIM),
        (UNPLACED, BOUND),
        (UNPLACED, replace(CLAIM, storage_class="")),
        (replace(PLACED, meta=replace(PLACED.meta, labels={naming.PART: naming.NODE})), BOUND),
    ],
)
def test_nobody_is_asked_about_what_waits_for_no_volume(pod: PodChild, claim: ClaimChild) -> None:
    assert question([pod], claim) is None
    failed = [event("FailedMount", "failed"), event("ProvisioningFailed", "failed")]
    assert hindrance(failed, [pod], claim, NOW) is None


def test_a_young_one_is_left_time() -> None:
    young = replace(PLACED, scheduled=NOW - 5)
    assert hindrance([event("FailedMount", "MountVolume.SetUp failed")], [young], BOUND, NOW) is None
