from __future__ import annotations

import pytest

from mlpools_operator.controller.health import DEAF_SECONDS, REACHABLE_SECONDS, STUCK_SECONDS, Health


class Bedside:
    """A health and its world: a clock, a queue's length, and the API server's last answer."""

    def __init__(self) -> None:
        self.now, self.waiting, self.answered = 1000.0, 0, 1000.0
        self.health = Health(lambda: self.waiting, lambda: self.answered, lambda: self.now)

    def wait(self, seconds: float, *, answers: bool = True) -> None:
        self.now += seconds
        if answers:
            self.answered = self.now


@pytest.fixture
def bed() -> Bedside:
    bed = Bedside()
    bed.health.synced()
    bed.health.leads()
    bed.health.heard("/pods")
    bed.health.heard("/jobs")
    return bed


def test_a_healthy_operator(bed: Bedside) -> None:
    assert bed.health.not_alive() == ""
    assert bed.health.not_ready() == ""


def test_before_the_first_sync_it_lives_and_is_not_ready() -> None:
    bed = Bedside()
    bed.waiting = 5
    bed.wait(STUCK_SECONDS + 1)
    assert bed.health.not_alive() == ""
    assert "not complete" in bed.health.not_ready()


def test_a_standby_is_ready_and_may_let_work_wait() -> None:
    bed = Bedside()
    bed.health.synced()
    bed.waiting = 5
    bed.wait(STUCK_SECONDS + 1)
    assert bed.health.not_alive() == ""
    assert bed.health.not_ready() == ""
    bed.health.leads()
    assert bed.health.not_alive() == "", "it has only just begun"
    bed.wait(STUCK_SECONDS + 1)
    assert "No pass has ended" in bed.health.not_alive()


def test_work_that_waits_without_any_pass_ending_is_death(bed: Bedside) -> None:
    bed.waiting = 1
    bed.wait(STUCK_SECONDS + 1)
    assert "No pass has ended" in bed.health.not_alive()
    bed.health.passed()
    assert bed.health.not_alive() == ""


def test_an_idle_operator_needs_no_passes(bed: Bedside) -> None:
    for _ in range(10):
        bed.wait(STUCK_SECONDS)
        bed.health.heard("/pods")
        bed.health.heard("/jobs")
        assert bed.health.not_alive() == ""
    bed.waiting = 1
    assert bed.health.not_alive() == "", "the work has only just come"


def test_one_silent_watch_is_death_however_loud_the_others_are(bed: Bedside) -> None:
    bed.wait(DEAF_SECONDS + 1)
    bed.health.heard("/pods")
    assert "/jobs has been silent" in bed.health.not_alive()
    assert "/jobs has been silent" in bed.health.not_ready()
    bed.health.heard("/jobs")
    assert bed.health.not_alive() == ""


def test_no_restart_helps_while_the_api_server_is_down(bed: Bedside) -> None:
    bed.wait(DEAF_SECONDS + 1, answers=False)
    assert bed.health.not_alive() == ""
    assert "has not answered" in bed.health.not_ready()


def test_ready_again_with_the_first_answer(bed: Bedside) -> None:
    bed.wait(REACHABLE_SECONDS + 1, answers=False)
    assert bed.health.not_ready()
    bed.wait(0)
    assert bed.health.not_ready() == ""
