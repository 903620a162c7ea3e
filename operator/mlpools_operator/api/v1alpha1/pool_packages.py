"""Where jobs of a ComputePool install Python packages from, and which."""

from __future__ import annotations

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints

from mlpools_operator.api.v1alpha1.common import ObjectName
from mlpools_operator.api.v1alpha1.meta import LIST_SET, Model, Rule

_IndexURL = Annotated[
    str,
    StringConstraints(min_length=8, max_length=1024, pattern=r"^https?://[^\s?#/]+(/[^\s?#]*)?$"),
    Rule(
        "!self.matches('^[a-z]+://[^/]*@')",
        "An index URL must not hold a user or password, which everybody could read here: name a Secret in "
        "credentialsSecret.",
        lambda url: "@" not in urlsplit(url).netloc,
    ),
]
# As many as fit beside a job's spec into what a pod is handed.
_Patterns = Annotated[
    tuple[
        Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._*?-]+$")], ...
    ],
    Field(max_length=64),
    LIST_SET,
]


class PoolPackages(Model):
    """The approved index and the policy for all packages that jobs of the pool install."""

    index_url: _IndexURL | None = None
    """The index, in the form that pip takes, such as https://index.example.com/python. Absent: the public
    one."""
    extra_index_urls: Annotated[tuple[_IndexURL, ...], Field(max_length=4), LIST_SET] = ()
    """Further indexes. All are asked for every name, and the best version of all is taken."""
    credentials_secret: ObjectName | None = None
    """Secret with the keys username and password for the host of indexURL. It must exist in the namespace of
    each job that installs packages."""
    ca_secret: ObjectName | None = None
    """Secret with the key ca.crt: authorities that sign the certificates of the indexes, trusted beside those
    of the image. It must exist in the namespace of each job that installs packages."""
    allow: _Patterns = ("*",)
    """Names that may be installed, those that come with others too. * stands for any text and ? for one sign;
    case, and which of - _ . parts a name, do not matter. The image's own packages are not asked about."""
    block: _Patterns = ()
    """Names that may not be installed, whatever allow says."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.credentialsSecret) || has(self.indexURL)",
            "credentialsSecret needs the indexURL that it is for.",
            lambda it: it.credentials_secret is None or it.index_url is not None,
            ".credentialsSecret",
        ),
    )
