"""Rules of the repository that no other tool keeps."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
E2E_MINUTES = 20


def test_operator_folder_never_shadows_the_standard_module() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not (ROOT / "operator" / "operator.py").exists()
    assert operator.itemgetter(1)("ab") == "b"


def declared_seconds(source: str) -> dict[str, int]:
    """Seconds of each test function by its marker `e2e(seconds=N)`; tests without one are absent."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.e2e":
                found[node.name] = sum(
                    ast.literal_eval(word.value) for word in mark.keywords if word.arg == "seconds"
                )
    return found


def only_in_full(source: str) -> set[str]:
    """Test functions that `make test` leaves out."""
    marked = r"^@pytest\.mark\.full\n(?:@.*\n)*def (test_\w+)"
    return set(re.findall(marked, source, re.M))


def test_every_end_to_end_test_declares_its_seconds_and_they_fit() -> None:
    total = 0
    files = sorted((ROOT / "tests" / "e2e").glob("test_*.py"))
    assert files
    for path in files:
        source = path.read_text()
        names = re.findall(r"^def (test_\w+)", source, re.M)
        seconds = declared_seconds(source)
        assert set(names) == set(seconds), f"{path.name}: give each test @pytest.mark.e2e(seconds=N)"
        assert all(value > 0 for value in seconds.values())
        later = only_in_full(source)
        total += sum(value for name, value in seconds.items() if name not in later)
    assert total <= E2E_MINUTES * 60, f"end-to-end tests declare {total} s"


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_locks_hold_names_versions_and_hashes_only(lock: Path) -> None:
    text = lock.read_text()
    assert "--hash=sha256:" in text
    assert not re.search(r"https?://|--index-url|--find-links|file:", text)


def test_no_tracked_file_names_a_download_host_or_a_private_path() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    here = [re.escape(f"{folder}/") for folder in (ROOT, Path.home() / ".cache", Path.home() / ".local")]
    hosts = [r"files\.pythonhosted\.org/", r"pypi\.org/simple", r"proxy\.golang", r"deb\.debian\.org"]
    pattern = re.compile("|".join([*hosts, *here]))
    allowed = {"tests/unit/project/test_layout.py"}
    for name in set(listed.stdout.split()) - allowed:
        path = ROOT / name
        if path.is_file() and path.suffix not in (".sum", ".png"):
            hit = pattern.search(path.read_text(errors="replace"))
            assert not hit, f"{name} names {hit and hit[0]}"
