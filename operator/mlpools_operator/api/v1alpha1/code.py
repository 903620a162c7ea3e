"""Where a job's own code comes from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from mlpools_operator.api.v1alpha1.common import DataURL, ObjectName
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one

_Checksum = Annotated[str, StringConstraints(max_length=64, pattern="^[0-9a-fA-F]{64}$")]
_GitURL = Annotated[
    str,
    StringConstraints(min_length=8, max_length=1024, pattern=r"^https?://[^\s?#/]+/[^\s?#]+$"),
    Rule(
        "!self.matches('^[a-z]+://[^/]*@')",
        "must not hold a user or password, which everybody could read here: name a Secret in git.secret.",
        lambda url: "@" not in url.split("/")[2],
    ),
]
# What git takes for the name of a branch or a tag, or the digits of a commit.
_REVISION = r"^[^\s~^:?*\[\\-][^\s~^:?*\[\\]*$"
Revision = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_REVISION)]


class GitCode(Model):
    """A revision of a Git repository."""

    url: _GitURL
    """URL of the repository, with https or http."""
    revision: Revision
    """Branch, tag, or commit with all its 40 digits. Rank 0 looks up what it means at the start of an
    attempt, and all ranks take that commit."""
    secret: ObjectName | None = None
    """Secret with the keys username and password (or a token as password), and ca.crt if the server's
    certificate needs it. It must exist in the same namespace. Absent: the repository is public."""


class CodeSpec(Model):
    """Code that every pod fetches before it starts: its working folder, and the first on PYTHONPATH."""

    config_map: ObjectName | None = None
    """Name of a ConfigMap in the job's namespace, each key of which is a file."""
    url: DataURL | None = None
    """Archive with the files: .tar.gz, .zip or .whl."""
    sha256: _Checksum | None = None
    """SHA-256 of the archive, in hexadecimal digits; nothing else is unpacked."""
    git: GitCode | None = None
    """A revision of a Git repository."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("config_map", "url", "git"), "code takes exactly one of configMap, url and git."),
        Rule(
            "has(self.url) == has(self.sha256)",
            "url and sha256 go together: give the checksum of the archive (sha256sum FILE), so that all pods "
            "run what you mean.",
            lambda code: (code.url is None) == (code.sha256 is None),
            ".sha256",
        ),
    )
