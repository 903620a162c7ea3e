"""Data sources of a job: where its rows come from."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from mlpools_operator.api.v1alpha1.common import StorageURL
from mlpools_operator.api.v1alpha1.meta import Model, Rule, exactly_one


class ParquetSource(Model):
    """Parquet files. Their row groups are dealt out to the nodes, so each file should have several."""

    url: StorageURL | None = None
    """A file, a folder (every *.parquet below it), or a pattern with *, ? and ** (which crosses folders).
    Either this or urls."""
    urls: Annotated[tuple[StorageURL, ...], Field(min_length=1, max_length=256)] | None = None
    """Several of them. Either this or url."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("url", "urls"), "Give either url (one place, which may hold *) or urls (a list)."),
    )

    @property
    def places(self) -> tuple[str, ...]:
        """All places, whichever of the two fields names them."""
        return self.urls if self.urls is not None else (self.url or "",)


class DataSource(Model):
    """Where rows come from."""

    parquet: ParquetSource | None = None
    """Parquet files on a mounted volume."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(("parquet",), "Say what kind of source it is: parquet is the one supported today."),
    )
