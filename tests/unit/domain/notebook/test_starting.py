"""What is said of a notebook that does not come to serve."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools_operator.domain import wording
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.notebook.starting import CRASHES, hindrance
from mlpools_operator.domain.observed import ClaimChild, JobChild, Meta, PodChild

NOW = 1_800_000_000.0
MADE = JobChild(Meta("nb-alice", "s", "team-a", created=NOW - 100), 1, 1, kind="StatefulSet")
CLAIM = ClaimChild(Meta("nb-alice-workspace", "c", "team-a"), "10Gi")


def pod(**fields: object) -> PodChild:
    base: dict[str, object] = {"meta": Meta("nb-alice-0", "p", "team-a", created=NOW - 100)}
    return PodChild(**{**base, "rank": 0, "attempt": 1, "job": "s", **fields})  # type: ignore[arg-type]


def crashed(words: str) -> PodChild:
    return pod(phase="Running", node="a", started=NOW - 90, waiting=CRASHES, last_words=words)


def told(
    at: PodChild | None,
    claim: ClaimChild | None = CLAIM,
    made: JobChild | None = MADE,
    look: Look | None = None,
) -> tuple[str, str]:
    found = hindrance(made, at, claim, look, "", NOW)
    return found.reason, found.message


def test_the_ordinary_course_of_a_start_has_no_reason() -> None:
    assert told(None, made=None)[0] == ""
    young = hindrance(MADE, pod(phase="Running", node="a", started=NOW - 5), CLAIM, None, "", NOW)
    assert (young.reason, young.look_after) == ("", 55)


@pytest.mark.parametrize(
    ("final", "reason", "words"),
    [
        (
            Final(Exit.OUTPUT_NOT_WRITABLE, 0, message="set storage.fsGroup"),
            "WorkspaceNotWritable",
            "fsGroup",
        ),
        (Final(Exit.SECRET_MISSING, 0, message="Secret a is not there."), "SecretMissing", "Secret a"),
        (Final(Exit.USER_CODE, 0, message="exit code 7: no licence"), "ServerFailed", "no licence"),
    ],
)
def test_a_program_that_ends_whenever_it_is_started_says_why(final: Final, reason: str, words: str) -> None:
    found = told(crashed(final.encode().decode()))
    assert found[0] == reason
    assert words in found[1]


def test_a_foreign_image_leaves_its_last_lines() -> None:
    reason, message = told(crashed("exec: jupyter: not found"))
    assert reason == "ServerFailed"
    assert "exec: jupyter: not found" in message
    assert "no words" in told(crashed(""))[1]
    assert "kubectl logs nb-alice-0 -n team-a" in told(crashed(""))[1]


def test_of_many_last_lines_the_last_ones_are_told() -> None:
    message = told(crashed("\n".join(f"frame {number}" for number in range(300)) + "\nNo licence."))[1]
    assert message.endswith("frame 299 No licence.")
    assert wording.fit(message) == message


def test_while_it_is_started_again_it_says_how_it_ended() -> None:
    again = pod(phase="Running", node="a", started=NOW - 5, last_words="exec: jupyter: not found")
    assert told(again) == ("", "Its program is starting. Before, it ended: exec: jupyter: not found")


def test_what_ran_out_of_memory_says_so_with_its_limit() -> None:
    killed = {"phase": "Running", "node": "a", "last_reason": "OOMKilled", "memory_limit": "4Gi"}
    reason, message = told(pod(**killed, started=NOW - 90, waiting=CRASHES))
    assert reason == "OutOfMemory"
    assert "at the limit of 4Gi" in message
    assert told(pod(**killed, started=NOW - 5)) == ("", f"Its program is starting. {message}")


def test_one_pod_that_is_refused_is_looked_for_at_its_maker() -> None:
    reason, message = told(
        None, made=JobChild(replace(MADE.meta, created=NOW - 900), 1, 1, kind="StatefulSet")
    )
    assert reason == "PodsRefused"
    assert "Its pod could not be made" in message
    assert "kubectl describe statefulset nb-alice -n team-a" in message


def test_a_port_that_never_opens_is_told_after_a_minute() -> None:
    reason, message = told(pod(phase="Running", node="a", started=NOW - 60))
    assert reason == "NotServing"
    assert "kubectl logs nb-alice-0 -n team-a" in message


def test_a_port_that_never_opens_is_told_with_the_last_lines_of_the_program() -> None:
    seen = Look(NOW, 1, NOW, NOW, trouble="The workspace is nearly full.", said="loading / waiting for keys")
    _, message = told(pod(phase="Running", node="a", started=NOW - 90), look=seen)
    assert message.endswith(
        "(port). The workspace is nearly full. Its last lines: loading / waiting for keys"
    )


def test_no_storage_class_and_no_machine_are_told_apart() -> None:
    waits = pod(unschedulable="pod has unbound immediate PersistentVolumeClaims.")
    assert told(waits)[0] == "NoStorageClass"
    bound = ClaimChild(CLAIM.meta, "10Gi", "fast", bound=True)
    assert told(waits, bound)[0] == "Unschedulable"


def test_an_image_that_is_not_there() -> None:
    waits = pod(node="a", scheduled=NOW - 50, waiting="ErrImagePull", waiting_message="no such image")
    assert told(waits) == ("ImagePullFailed", "no such image.")


def test_a_machine_that_does_not_answer_keeps_the_workspace() -> None:
    lost = pod(phase="Running", node="a", started=NOW - 900, gone_by=NOW - 60)
    assert "may still write to the workspace" in told(lost)[1]
    gone = pod(phase="Running", node="a", gone_by=NOW - 60, disruption="DeletionByPodGC", disrupted=NOW - 9)
    assert "is gone" in told(gone)[1]
