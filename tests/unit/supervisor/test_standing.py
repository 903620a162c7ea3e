"""Where a hung worker stood, from real dumps of Python's fault handler."""

from __future__ import annotations

import pytest

from mlpools.supervisor.standing import standing

SITE = "/usr/lib/python3.11/site-packages"


def dump(*frames: tuple[str, int, str]) -> bytes:
    lines = [f'  File "{path}", line {line} in {name}' for path, line, name in frames]
    other = '  File "/usr/lib/python3.11/threading.py", line 982 in run'
    head = ["step 3", "Fatal Python error: Aborted", "", "Thread 0x01 (most recent call first):", other, ""]
    text = [
        *head,
        "Current thread 0x02 (most recent call first):",
        *lines,
        "",
        "Extension modules: numpy (1)",
    ]
    return "\n".join(text).encode()


STARTER = ("<frozen runpy>", 88, "_run_code")


TRAIN = "/code/train.py"
LOAD = [(TRAIN, 12, "load"), (TRAIN, 40, "<module>")]
READ = [("/usr/lib/python3.11/socket.py", 700, "readinto"), ("/code/a.py", 3, "get")]
REDUCE = [
    (f"{SITE}/torch/distributed/distributed_c10d.py", 3000, "all_reduce"),
    (f"{SITE}/torch/distributed/c10d_logger.py", 80, "wrapper"),
    (TRAIN, 45, "<module>"),
]
BACKWARD = [(f"{SITE}/torch/autograd/graph.py", 800, "_engine_run_backward"), (TRAIN, 7, "step")]
TREES = [
    (f"{SITE}/xgboost/collective.py", 10, "allreduce"),
    ("/app/mlpools/train/trees/boosting.py", 99, "run"),
]


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (LOAD, "It stood at train.py line 12 (load)."),
        (READ, "It stood at a.py line 3 (get)."),
        (REDUCE, "It waited for other ranks at train.py line 45 (<module>)."),
        (BACKWARD, "It waited for other ranks at train.py line 7 (step)."),
        (TREES, "It waited for other ranks at collective.py line 10 (allreduce)."),
    ],
)
def test_the_innermost_line_of_the_user_s_own_code_counts(
    frames: list[tuple[str, int, str]], sentence: str
) -> None:
    found = standing(dump(*frames, STARTER))
    assert found is not None
    assert found.sentence() == sentence


@pytest.mark.parametrize("log", [b"", b"step 1\nstep 2", dump()])
def test_a_log_without_a_dump_says_nothing(log: bytes) -> None:
    assert standing(log) is None
