from __future__ import annotations

import pytest

from mlpools_operator.domain.attempt import scheduler_words

PREEMPTION = " no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful."


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        (
            "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "Add machines with that much nvidia.com/gpu free, or have the pool's shape ask for less",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {team: other}.",
            "Add machines with that much cpu free, or have the pool's shape ask for less; "
            "or add the taint team to the pool's tolerations if its pods may run there",
        ),
        (
            "0/3 nodes are available: 3 node(s) had untolerated taint(s).",
            "Add the taint to the pool's tolerations if its pods may run there",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            "Give machines the labels of the pool's nodeSelector and of its family, or correct those",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.",
            "Set the pool's placement.required to false, or add machines in the wanted place",
        ),
        (
            "0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
            "Use a volume that machines of the pool can mount",
        ),
        (
            '0/3 nodes are available: persistentvolumeclaim "flights" not found.',
            "Make the PersistentVolumeClaim in the job's namespace, or have it bound",
        ),
        ("0/3 nodes are available: 3 node(s) were unschedulable.", "Uncordon machines"),
        ("", "Add machines, or have the pool's shape and placement fit those there are"),
    ],
)
def test_what_would_help(words: str, helps: str) -> None:
    assert scheduler_words.remedy(words + PREEMPTION) == helps
    assert scheduler_words.short(words + PREEMPTION) == words.rstrip(".")


def test_an_absent_claim_is_no_lack_of_machines() -> None:
    assert scheduler_words.about_volumes('persistentvolumeclaim "flights" not found.')
    assert scheduler_words.about_volumes("pod has unbound immediate PersistentVolumeClaims.")
    assert not scheduler_words.about_volumes(
        "1 node(s) had volume node affinity conflict, 1 Insufficient cpu."
    )
