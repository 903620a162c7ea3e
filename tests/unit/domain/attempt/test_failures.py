from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpools.contract.ends import Exit, Final
from mlpools_operator.domain.attempt import failures
from mlpools_operator.domain.attempt.failures import Failed, Succeeded, Undecided
from mlpools_operator.domain.observed import PodChild
from tests.support.domain_values import NOW, a_job_child, a_pod, ended

GRACE = 60.0
RANKS = 4


def _judge(pods: Sequence[PodChild], now: float = NOW + 5, **job: Any) -> failures.Ending | None:
    return failures.judge(a_job_child(nodes=RANKS, **job), pods, RANKS, GRACE, now)


def _killed(rank: int, at: float) -> PodChild:
    return a_pod(rank, phase="Failed", ready=False, exit_code=137, exit_reason="Error", finished=at)


def _oom(rank: int, at: float) -> PodChild:
    return replace(_killed(rank, at), exit_reason="OOMKilled")


def _evicted(rank: int, at: float) -> PodChild:
    pod = ended(rank, Exit.PREEMPTED, at)
    return replace(pod, disruption="EvictionByEvictionAPI", disrupted=at)


def _lost(rank: int, at: float) -> PodChild:
    return a_pod(rank, ready=False, disruption="DeletionByTaintManager", disrupted=at)


def _pressed(rank: int, at: float) -> PodChild:
    message = "The node was low on resource: memory."
    return a_pod(rank, phase="Failed", ready=False, reason="Evicted", message=message, finished=at)


def _own_fault(rank: int, at: float) -> PodChild:
    message = "Usage of EmptyDir volume mlpools-scratch exceeds the limit 1Gi."
    return a_pod(rank, phase="Failed", ready=False, reason="Evicted", message=message, finished=at)


#: How a rank can end, and what the job is told.
CAUSES: dict[str, tuple[Any, str]] = {
    "machine lost": (_lost, "NodeLost"),
    "evicted": (_evicted, "Preempted"),
    "node under pressure": (_pressed, "Preempted"),
    "its own disk limit": (_own_fault, "OutOfDisk"),
    "out of memory": (_oom, "OutOfMemory"),
    "killed": (_killed, "WorkerCrashed"),
    **{
        code.name: (lambda rank, at, code=code: ended(rank, code, at, "why"), reason)
        for code, reason in (
            (Exit.USER_CODE, "UserCodeError"),
            (Exit.INVALID_SPEC, "InvalidSpec"),
            (Exit.OUTPUT_EXISTS, "OutputExists"),
            (Exit.DATA_NOT_READABLE, "DataNotReadable"),
            (Exit.BAD_HYPER_PARAMETER, "BadHyperParameter"),
            (Exit.CHECKPOINT_MISMATCH, "CheckpointMismatch"),
            (Exit.SECRET_MISSING, "SecretMissing"),
            (Exit.FABRIC_TOO_SLOW, "FabricTooSlow"),
            (Exit.OUTPUT_NOT_WRITABLE, "OutputNotWritable"),
            (Exit.HUNG, "Hung"),
            (Exit.SIGNAL, "WorkerCrashed"),
            (Exit.INTERNAL, "InternalError"),
            (Exit.PREEMPTED, "Preempted"),
        )
    },
}


@pytest.mark.parametrize(("name", "rank"), list(itertools.product(CAUSES, range(RANKS))))
def test_one_rank_dies_and_the_others_die_of_it(name: str, rank: int) -> None:
    """Each cause on each rank, with the ranks ending in every order: always the same answer."""
    make, reason = CAUSES[name]
    answers = set()
    for order in itertools.permutations(range(RANKS)):
        at = {who: NOW + place / 4 for place, who in enumerate(order)}
        pods = [
            make(who, at[who]) if who == rank else ended(who, Exit.PEER_LOST, at[who]) for who in range(RANKS)
        ]
        ending = _judge(pods, now=NOW + 30)
        assert isinstance(ending, Failed)
        answers.add((ending.cause.reason, ending.cause.rank, len(ending.causes)))
    assert answers == {(reason, rank, RANKS)}


def test_the_graver_cause_wins_whoever_ended_first() -> None:
    grave_to_light = [_lost, _oom, CAUSES["USER_CODE"][0], _killed, CAUSES["PREEMPTED"][0]]
    for first, (grave, light) in itertools.product((0, 1), itertools.combinations(grave_to_light, 2)):
        pods = [grave(0, NOW + first), light(1, NOW + 1 - first), *(ended(r, Exit.PEER_LOST) for r in (2, 3))]
        ending = _judge(pods, now=NOW + 30)
        assert isinstance(ending, Failed)
        assert ending.cause.rank == 0


def test_of_equal_causes_the_first_to_finish_counts() -> None:
    pods = [ended(rank, Exit.USER_CODE, NOW + (3, 1, 2, 1)[rank], f"rank {rank}") for rank in range(RANKS)]
    ending = _judge(pods)
    assert isinstance(ending, Failed)
    assert (ending.cause.rank, ending.cause.message) == (1, "rank 1")


def test_nothing_is_decided_while_a_graver_cause_may_still_show() -> None:
    pods = [ended(0, Exit.PEER_LOST, NOW), *(a_pod(rank) for rank in (1, 2, 3))]
    assert _judge(pods, now=NOW + 9) == Undecided(NOW + failures.SETTLE_SECONDS)
    pods[2] = ended(2, Exit.USER_CODE, NOW + 9, "KeyError: 'x'")
    ending = _judge(pods, now=NOW + 10)
    assert isinstance(ending, Failed)
    assert ending.cause.reason == "UserCodeError"


def test_all_pods_terminal_decides_at_once() -> None:
    assert isinstance(_judge([ended(r, Exit.HUNG, NOW) for r in range(RANKS)], now=NOW), Failed)


def test_a_rank_that_says_nothing_while_the_others_lost_it_is_on_a_lost_machine() -> None:
    pods = [a_pod(2) if rank == 2 else ended(rank, Exit.PEER_LOST, NOW) for rank in range(RANKS)]
    ending = _judge(pods, now=NOW + 10)
    assert isinstance(ending, Failed)
    assert (ending.cause.reason, ending.cause.rank, ending.cause.node) == ("NodeLost", 2, "node-2")


def test_a_disrupted_pod_has_its_grace_and_a_lost_machine_has_none() -> None:
    others = [a_pod(rank) for rank in (1, 2, 3)]
    drained = a_pod(0, disruption="EvictionByEvictionAPI", disrupted=NOW)
    assert _judge([drained, *others], now=NOW + GRACE - 1) is None
    assert isinstance(_judge([drained, *others], now=NOW + GRACE), Undecided)
    assert isinstance(_judge([_lost(0, NOW), *others], now=NOW + 1), Undecided)
    assert isinstance(_judge([_lost(0, NOW), *others], now=NOW + 10), Failed)


@pytest.mark.parametrize("others", [Exit.DONE, Exit.PEER_LOST, Exit.PREEMPTED])
def test_rank_0_decides_about_success(others: Exit) -> None:
    winner = ended(0, Exit.DONE, metrics={"eval-rmse": 17.9}, step=200)
    ending = _judge([winner, *(ended(rank, others) for rank in (1, 2, 3))])
    assert isinstance(ending, Succeeded)
    assert ending.final is not None
    assert ending.final.metrics == {"eval-rmse": 17.9}


def test_the_job_decides_if_rank_0_is_gone() -> None:
    assert _judge([], ended="Complete") == Succeeded(None)


def test_a_success_without_a_report_is_a_success() -> None:
    lost = replace(ended(0, Exit.DONE), termination="Killed")
    assert _judge([lost, *(a_pod(rank) for rank in (1, 2, 3))]) == Succeeded(None)


_NAME = "team-a/flights-1-2-abcde"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (f"Pod {_NAME} has condition DisruptionTarget matching FailJob rule at index 0", "Preempted"),
        (
            f"Container main for pod {_NAME} failed with exit code 10 matching FailJob rule at index 1",
            "UserCodeError",
        ),
        (
            f"Container main for pod {_NAME} failed with exit code 137 matching FailJob rule at index 1",
            "WorkerCrashed",
        ),
        ("Job has reached the specified backoff limit", "Preempted"),
        ("", "Preempted"),
    ],
)
def test_the_job_tells_of_a_pod_that_is_gone(message: str, reason: str) -> None:
    ending = _judge([], ended="Failed", message=message)
    assert isinstance(ending, Failed)
    assert ending.cause.reason == reason
    if _NAME in message:
        assert (ending.cause.rank, ending.cause.pod) == (2, "flights-1-2-abcde")
    if message:
        with_peers = _judge([ended(0, Exit.PEER_LOST)], ended="Failed", message=message)
        assert isinstance(with_peers, Failed)
        assert with_peers.cause.reason == (reason if _NAME in message else "PeerLost")


@pytest.mark.parametrize(
    "message",
    [
        f"Container main for pod {_NAME} failed with exit code 22 matching FailJob rule at index 1",
        f"Pod {_NAME} has condition DisruptionTarget matching FailJob rule at index 0",
    ],
)
def test_the_job_adds_nothing_about_a_pod_that_is_there(message: str) -> None:
    ending = _judge([ended(2, Exit.PEER_LOST)], ended="Failed", message=message)
    assert isinstance(ending, Failed)
    assert len(ending.causes) == 1


@pytest.mark.parametrize(
    ("pod", "words"),
    [
        (_oom(1, NOW), "it ran out of memory at the limit of 4Gi"),
        (_killed(1, NOW), "its main process was killed by SIGKILL"),
        (replace(_killed(1, NOW), exit_code=139), "its main process was killed by SIGSEGV"),
        (
            replace(_killed(1, NOW), exit_code=128, termination='exec: "python": not found'),
            'its main process ended with exit code 128 before it could say why: exec: "python": not found',
        ),
        (ended(1, Exit.HUNG, NOW, ""), "it left no message; its log may tell more"),
    ],
)
def test_a_cause_is_told_in_words(pod: PodChild, words: str) -> None:
    cause = failures.cause_of(pod, GRACE, NOW)
    assert cause is not None
    assert cause.message == words


def _init(code: int, words: str = "", reason: str = "Error") -> PodChild:
    pod = a_pod(1, phase="Failed", ready=False, started=0.0, exit_code=code, exit_reason=reason)
    return replace(pod, init_container="mount", termination=words, finished=NOW, memory_limit="64Mi")


@pytest.mark.parametrize(
    ("pod", "reason", "words"),
    [
        (_init(3, "no such share"), "InitContainerFailed", "ended with exit code 3: no such share"),
        (_init(137), "InitContainerFailed", "was killed by SIGKILL"),
        (_init(137, "", "OOMKilled"), "InitContainerFailed", "ran out of memory at its limit of 64Mi"),
        # It is not one of ours, so its code means nothing here.
        (_init(Exit.USER_CODE), "InitContainerFailed", "ended with exit code 10"),
        (
            _init(128, 'exec: "python": executable file not found in $PATH', "StartError"),
            "InitContainerFailed",
            'ended with exit code 128: exec: "python": executable file not found in $PATH',
        ),
    ],
)
def test_an_init_container_that_failed_is_no_lost_machine(pod: PodChild, reason: str, words: str) -> None:
    ending = _judge([a_pod(0), pod, a_pod(2), a_pod(3)], now=NOW + 10)
    assert isinstance(ending, Failed)
    assert (ending.cause.reason, ending.cause.rank) == (reason, 1)
    assert ending.cause.message == f"its init container 'mount' {words}"


def test_our_own_init_container_says_itself_what_is_wrong() -> None:
    said = Final(Exit.INVALID_SPEC, rank=1, message="The pool's image has no dulwich.")
    cause = failures.cause_of(_init(Exit.INVALID_SPEC, said.to_json()), GRACE, NOW)
    assert cause is not None
    assert (cause.reason, cause.message) == ("InvalidSpec", "The pool's image has no dulwich.")


def test_a_machine_that_evicts_a_pod_before_it_began_is_to_blame_all_the_same() -> None:
    evicted = replace(_init(137), reason="Evicted", message="The node was low on resource: memory.")
    cause = failures.cause_of(evicted, GRACE, NOW)
    assert cause is not None
    assert cause.reason == "Preempted"


@given(st.text(max_size=60), st.integers(0, 255), st.sampled_from(("Error", "OOMKilled", "")))
def test_whatever_a_foreign_program_leaves_is_taken(text: str, code: int, reason: str) -> None:
    pods = [
        a_pod(rank, phase="Failed", exit_code=code, exit_reason=reason, termination=text)
        for rank in range(RANKS)
    ]
    assert isinstance(_judge(pods), Failed)
