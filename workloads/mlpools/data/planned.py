"""Data whose plan was resolved before, by whoever hands it over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from mlpools.data.plan import Plan
from mlpools.data.sources import check_keys
from mlpools.errors import InvalidSpec
from mlpools.storage import locate


@dataclasses.dataclass(frozen=True)
class PlannedSource:
    """A plan in a file.

    Attributes:
        url: of what ``Plan.to_json`` returned.
    """

    url: str

    @classmethod
    def from_spec(cls, name: str, raw: Mapping[str, Any], selection: Mapping[str, Any]) -> Self:
        """Read a section such as ``plan: {url: /tmp/train.plan}``; see ``FileSource.from_spec``."""
        check_keys(name, raw, ("url",), needed=("url",))
        if any(selection.values()):
            raise InvalidSpec(f"{name} has its columns, filter and limit already.")
        return cls(raw["url"])

    def __str__(self) -> str:
        return self.url

    def plan(self) -> Plan:
        """Return the plan as it was."""
        return Plan.from_json(locate(self.url).read().decode())
