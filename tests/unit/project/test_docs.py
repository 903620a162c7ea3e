"""What the documents say is there: reasons, files, and manifests that would be accepted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from mlpools_operator.api.v1alpha1 import KINDS
from mlpools_operator.domain.reasons import RULES, Retry
from tests.support.published import ROOT, blocks, check
from tests.support.reasons import all_reasons

TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
JOBS = ROOT / "docs" / "jobs.md"
DOCUMENTS = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(path for folder in ("docs", "examples", "charts") for path in (ROOT / folder).rglob("*.md")),
    ]
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_troubleshooting_has_each_reason_of_the_code_and_no_other() -> None:
    reasons = all_reasons()
    assert {"WaitingForNodes", "RestartsExhausted", "Hung", "SecretMissing"} <= reasons
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", TROUBLESHOOTING.read_text(), re.M)
    rows = [word for cell in cells for word in re.findall(r"\w+", cell)]
    assert len(rows) == len(set(rows)), "a reason has two rows"
    assert sorted(reasons - set(rows)) == [], "a reason that users can meet is not explained"
    assert sorted(set(rows) - reasons) == [], "no code gives this reason"


def test_troubleshooting_tells_what_follows_each_reason() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \| .*? \|$", TROUBLESHOOTING.read_text(), re.M)
    follows = dict(rows)
    assert RULES.keys() <= follows.keys()
    words = {
        Retry.WAIT: "waits|queues again",
        Retry.NEVER: "ends",
        Retry.COUNTED: "counted",
        Retry.FREE: "free",
    }
    wrong = [reason for reason, rule in RULES.items() if not re.search(words[rule], follows[reason])]
    assert wrong == []


def test_the_page_about_jobs_has_each_reason_in_its_class() -> None:
    rows = re.findall(
        r"^\| (It waits|It has ended|A new attempt[^|]*?)[^|]* \| (.*) \|$", JOBS.read_text(), re.M
    )
    told = [re.findall(r"`([A-Z]\w+)`", cell) for _, cell in rows]
    classes = (Retry.WAIT, Retry.NEVER, Retry.COUNTED, Retry.FREE)
    for rule, reasons in zip(classes, told, strict=True):
        assert sorted(reasons) == sorted(reason for reason, it in RULES.items() if it is rule)


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_to_files(path: Path) -> None:
    targets = [target for target in LINK.findall(CODE.sub("", path.read_text())) if "://" not in target]
    absent = [target for target in targets if not (path.parent / target).exists()]
    assert not absent, f"{named(path)} links to {', '.join(absent)}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_manifests_in_documents_are_accepted(path: Path) -> None:
    for document in blocks(path):
        check(document)


def test_readme_shows_a_manifest_of_each_kind() -> None:
    ours = [document["kind"] for document in blocks(ROOT / "README.md") if check(document)]
    assert sorted(ours) == sorted(KINDS)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").rglob("*.yaml")), ids=named)
def test_examples_are_accepted(path: Path) -> None:
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    for document in documents:
        assert check(document) or document["apiVersion"] == "v1"
