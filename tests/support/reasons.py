"""The reasons that users can meet, collected from the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlpools.contract.ends import REASONS
from mlpools_operator import domain
from mlpools_operator.domain.reasons import RULES

_TESTS = Path(__file__).parents[1]
#: Calls that carry the reason why a job waits, stops or fails, and at which place.
_OF_JOBS = {
    "Closed": 0,
    "Cause": 1,
    "Next": 3,
    "RefusedError": 0,
    "Stop": 0,
    "Trouble": 0,
    "Verdict": 1,
    "answer": 1,
    "_obstacle": 0,
    "fail": 1,
    "queued": 1,
}
#: Calls, and a variable, that carry any other reason.
_OTHERS = {
    "Event": 1,
    "Hindrance": 0,
    "_idle": 1,
    "_passed_over": 2,
    "Life": 0,
    "_sleep": 0,
    "set": 2,
    "reason": 0,
    "Said": 1,
}


def all_reasons() -> set[str]:
    """Every reason of a job's or pool's status: written by the operator, or told by a pod's exit code."""
    return {*REASONS.values(), *RULES, *_written(_OF_JOBS | _OTHERS)}


def job_reasons() -> set[str]:
    """The reasons that the code gives to jobs that wait, stop or fail."""
    return {*REASONS.values(), *_written(_OF_JOBS, without="notebook")}


def words_of_tests(*folders: str) -> set[str]:
    """The words of all strings in some folders' tests."""
    paths = [path for folder in folders for path in sorted((_TESTS / folder).glob("test_*.py"))]
    strings = (
        node.value
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    return {word for text in strings for word in re.findall(r"\w+", text)}


def _written(places: Mapping[str, int], without: str = "") -> Iterator[str]:
    root = Path(domain.__path__[0])
    for path in sorted(root.rglob("*.py")):
        if path.relative_to(root).parts[0] != without:
            yield from _written_in(ast.parse(path.read_text()), places)


def _written_in(tree: ast.Module, places: Mapping[str, int]) -> Iterator[str]:
    named = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            place = places.get(name, len(node.args))
            given = [named.get(ast.unparse(it), it) for it in node.args[place : place + 1]]
            yield from _words(given)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in places:
            yield from _words([node.value])


def _words(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.IfExp):
            yield from _words([node.body, node.orelse])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            yield node.value
