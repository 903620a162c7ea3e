"""A caller's functions inside a training: objective and callbacks, also across a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from mlpools.contract.ends import Exit
from mlpools.errors import InvalidSpec, Preempted, UserCodeError
from mlpools.train.trees.hooks import Hooks
from tests.support.flights import spec
from tests.support.one_rank import OneRank
from tests.support.pods import read_json

LONG = spec(rounds=40)


class Recorder(xgb.callback.TrainingCallback):
    """Remembers its calls, and asks to stop when it had so many rounds."""

    def __init__(self, stop_after: int = 1_000, before: bool = False) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.rounds = 0
        self._stop_after, self._before = stop_after, before

    def before_training(self, model: xgb.Booster) -> xgb.Booster:
        self.calls.append("before_training")
        return model

    def after_training(self, model: xgb.Booster) -> xgb.Booster:
        self.calls.append("after_training")
        return model

    def before_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        self.calls.append(f"before {epoch}")
        return self._before and self.rounds >= self._stop_after

    def after_iteration(self, model: xgb.Booster, epoch: int, evals_log: Any) -> bool:
        assert len(evals_log["eval"]["rmse"]) == epoch + 1 == model.num_boosted_rounds()
        self.calls.append(f"after {epoch}")
        self.rounds += 1
        return not self._before and self.rounds >= self._stop_after

    def state_dict(self) -> dict[str, int]:
        return {"rounds": self.rounds}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.rounds = state["rounds"]


@pytest.fixture
def here(tmp_path: Path) -> OneRank:
    return OneRank(tmp_path)


def decay(epoch: int) -> float:
    return 0.5 * 0.9**epoch


def squared(predictions: np.ndarray, matrix: xgb.DMatrix) -> tuple[np.ndarray, np.ndarray]:
    return predictions - matrix.get_label(), np.ones_like(predictions)


def test_callbacks_are_called_as_xgboost_calls_them(here: OneRank) -> None:
    recorder = Recorder()
    here.run(spec=spec(rounds=2), hooks=Hooks(callbacks=(recorder,)))
    rounds = ["before 0", "after 0", "before 1", "after 1"]
    assert recorder.calls == ["before_training", *rounds, "after_training"]


@pytest.mark.parametrize("before", [False, True])
def test_a_callback_ends_the_training_after_as_many_rounds_with_a_stop_between(
    here: OneRank, before: bool
) -> None:
    with pytest.raises(Preempted):
        here.run(4, spec=LONG, hooks=Hooks(callbacks=(Recorder(7, before),)))
    second = Recorder(7, before)
    final = here.run(spec=LONG, hooks=Hooks(callbacks=(second,)), attempt=2)
    assert final.step == 7
    assert second.calls[1] == "before 4"
    assert second.calls[-1] == "after_training"


def test_what_a_callback_set_is_the_same_after_a_stop(here: OneRank, tmp_path: Path) -> None:
    def scheduled() -> Hooks:
        return Hooks(callbacks=(xgb.callback.LearningRateScheduler(decay),))

    here.run(spec=LONG, hooks=scheduled())
    other = OneRank(tmp_path / "other")
    with pytest.raises(Preempted):
        other.run(9, spec=LONG, hooks=scheduled())
    other.run(spec=LONG, hooks=scheduled(), attempt=2)
    assert other.model() == here.model()


def test_a_wish_to_end_is_kept_if_a_stop_comes_with_it(here: OneRank) -> None:
    where = {"url": str(here.folder / "saved"), "everyRounds": 5, "keep": 2}
    assert here.run(spec=LONG, hooks=Hooks(callbacks=(Recorder(5),)), checkpoint=where).step == 5
    (here.output / "result.json").unlink()
    (here.output / "model.ubj").unlink()
    silent = Recorder()
    assert here.run(spec=LONG, hooks=Hooks(callbacks=(silent,)), checkpoint=where, attempt=2).step == 5
    assert silent.calls == ["before_training", "after_training"]


def test_an_objective_of_squares_is_that_of_squares(here: OneRank) -> None:
    here.run(spec=spec(params={"max_depth": 4, "eta": 0.2, "base_score": 3.0}))
    expected = read_json(here.output / "result.json")["metrics"]
    output = {"url": str(here.output), "mode": "Overwrite"}
    here.run(
        uid="uid-2",
        output=output,
        spec=spec(params={"max_depth": 4, "eta": 0.2, "base_score": 3.0}),
        hooks=Hooks(objective=squared),
    )
    found = read_json(here.output / "result.json")["metrics"]
    assert found["eval"]["rmse"] == pytest.approx(expected["eval"]["rmse"], rel=1e-4)


def test_another_objective_starts_over(here: OneRank) -> None:
    with pytest.raises(Preempted):
        here.run(6, spec=LONG)
    with pytest.raises(Preempted, match="after round 2,"):
        here.run(2, spec=LONG, hooks=Hooks(objective=squared))


def test_an_exception_of_the_callers_is_named(here: OneRank) -> None:
    def broken(predictions: np.ndarray, matrix: xgb.DMatrix) -> tuple[np.ndarray, np.ndarray]:
        raise KeyError("limit")

    with pytest.raises(UserCodeError, match=r"The objective .*broken raised KeyError: 'limit'\.") as caught:
        here.run(hooks=Hooks(objective=broken))
    assert caught.value.code == Exit.USER_CODE


def test_callbacks_that_a_checkpoint_cannot_keep_are_refused(here: OneRank) -> None:
    with pytest.raises(InvalidSpec, match=r"EarlyStopping forgets.*early_stopping_rounds"):
        here.run(hooks=Hooks(callbacks=(xgb.callback.EarlyStopping(rounds=3),)))
    with pytest.raises(InvalidSpec, match=r"builtins\.object is no xgboost\.callback"):
        here.run(hooks=Hooks(callbacks=(object(),)))

    class Odd(Recorder):
        def state_dict(self) -> Any:
            return {"when": {1, 2}}

    with pytest.raises(InvalidSpec, match=r"state_dict of the callback .*Odd is not kept"):
        here.run(hooks=Hooks(callbacks=(Odd(),)))
