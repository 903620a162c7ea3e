"""The reasons that users can meet, collected from the code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from mlpools.contract import REASONS
from mlpools_operator import domain

#: Calls that carry a reason, and at which place.
_PLACES = {
    "Closed": 0,
    "Cause": 1,
    "Event": 1,
    "Next": 3,
    "RefusedError": 0,
    "Stop": 0,
    "Trouble": 0,
    "Verdict": 1,
    "_idle": 1,
    "answer": 1,
    "_obstacle": 0,
    "_sleep": 0,
    "fail": 1,
    "queued": 1,
    "set": 2,
}


def all_reasons() -> set[str]:
    """Every reason of a job's or pool's status: written by the operator, or told by a pod's exit code."""
    folder = Path(domain.__path__[0])
    trees = [ast.parse(path.read_text()) for path in sorted(folder.glob("*.py"))]
    return {*REASONS.values(), *(word for tree in trees for word in _written(tree))}


def _written(tree: ast.Module) -> Iterator[str]:
    named = {
        ast.unparse(node.targets[0]): node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            place = _PLACES.get(name, len(node.args))
            given = [named.get(ast.unparse(it), it) for it in node.args[place : place + 1]]
            yield from _words(given)
        elif isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0])
            if target == "reason":
                yield from _words([node.value])
            elif target == "_RETRY" and isinstance(node.value, ast.Dict):
                yield from _words([key for key in node.value.keys if key])


def _words(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.IfExp):
            yield from _words([node.body, node.orelse])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
            yield node.value
