"""Functions on their way into other processes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mlpools.errors import InvalidSpec, UserCodeError
from mlpools.train.sent import HOOKS_ENV, pack, received_hooks, unpack
from mlpools.train.trees.hooks import Hooks


def test_a_function_travels_with_what_it_holds_on_to(tmp_path: Path) -> None:
    factor = 3
    path = tmp_path / "hooks"
    path.write_bytes(
        pack("objective", Hooks(metric=lambda predictions, rows: ("times", factor * predictions)))
    )
    hooks = received_hooks({HOOKS_ENV: str(path)})
    assert hooks.metric is not None
    assert hooks.metric(2, None) == ("times", 6)
    assert received_hooks({}) == Hooks()


def test_what_cannot_travel_is_said() -> None:
    lock = threading.Lock()
    with pytest.raises(InvalidSpec, match=r"The metric cannot be sent to other processes: .*lock.* inside"):
        pack("metric", lambda: lock)


def test_what_is_missing_at_the_other_end_is_said() -> None:
    packed = b"cno_such_module\nfunction\n."
    with pytest.raises(
        UserCodeError, match=r"The metric cannot be used here: ModuleNotFoundError: .*no_such_module"
    ):
        unpack("metric", packed)
