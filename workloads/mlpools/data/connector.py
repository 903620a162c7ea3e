"""``DataConnector``: one way to data, whatever it is stored in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from mlpools.data import frames
from mlpools.data.constructors import FromFiles
from mlpools.data.described import Description
from mlpools.data.from_tables import FromTables
from mlpools.data.ingestor import ArrowIngestor, DataIngestor
from mlpools.data.outputs import Outputs
from mlpools.data.plan import Plan
from mlpools.data.sources import DataSource, MemorySource, as_sources, texts

if TYPE_CHECKING:
    from mlpools.data.dataset import Dataset


class DataConnector(FromFiles, FromTables, Outputs):
    """Rows of one or many sources, read when they are asked for.

    Picklable. A connector of files holds their plan, not their rows: it sees the files that were there
    when it was made.
    """

    #: What reads the sources unless a constructor is told another one.
    DEFAULT_INGESTOR_CLASS: ClassVar[type[DataIngestor]] = ArrowIngestor

    @classmethod
    def from_sources(
        cls,
        sources: DataSource | str | Sequence[DataSource | str],
        *,
        ingestor_class: type[DataIngestor] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Connect to sources, read one after the other; a string is the path or URL of Parquet files.

        Args:
            sources: either files and what becomes files, or tables in memory.
            ingestor_class: what reads them.
            **kwargs: for the ingestor; see ``ArrowIngestor.from_sources`` for those of the default one.

        Raises:
            DataNotReadable: a file is missing, damaged or does not fit the others.
        """
        ingestor = ingestor_class or cls.DEFAULT_INGESTOR_CLASS
        return cls(ingestor.from_sources(as_sources(sources), **kwargs))

    @classmethod
    def from_dataframe(cls, df: Any, ingestor_class: type[DataIngestor] | None = None, **kwargs: Any) -> Self:
        """Connect to a frame in memory: see ``frames.to_table`` for what is one.

        Its memory is shared where it has Arrow's form: do not change values in place afterwards.
        """
        return cls.from_sources(MemorySource(frames.to_table(df)), ingestor_class=ingestor_class, **kwargs)

    @classmethod
    def from_ray_dataset(cls, ray_ds: Any) -> Self:
        """Connect to a ``ray.data.Dataset``, whose rows are streamed.

        Every row comes exactly once in each epoch. Ray does not keep an order between epochs or
        processes: there is no order by seed, and ``state_dict`` refuses.
        """
        from mlpools.data.ray_ingestor import RayIngestor

        return cls(RayIngestor(ray_ds))

    @classmethod
    def from_dataset(
        cls,
        ds: Dataset,
        *,
        ingestor_class: type[DataIngestor] | None = None,
        columns: Sequence[str] = (),
        **kwargs: Any,
    ) -> Self:
        """Connect to the selected version of a data set.

        Args:
            ds: with a version selected.
            ingestor_class: what reads it.
            columns: to read; by default features and labels, and not the excluded columns.
            **kwargs: for the ingestor.

        Raises:
            InvalidSpec: no version is selected.
            DataNotReadable: the version is gone, or its bytes changed.
        """
        source = ds.source(columns=texts(columns))
        return cls.from_sources(source, ingestor_class=ingestor_class, **kwargs)

    @property
    def data_sources(self) -> list[DataSource]:
        """What this connector was made of."""
        return self._ingestor.data_sources

    @property
    def plan(self) -> Plan | None:
        """The plan of the files whose rows these all are; None for a part of them, and for other rows."""
        ingestor = self._ingestor
        return ingestor.plan if isinstance(ingestor, ArrowIngestor) and self._ranges is None else None

    def __repr__(self) -> str:
        return self._description.text()

    def _repr_html_(self) -> str:
        return self._description.html()

    @property
    def _description(self) -> Description:
        files = None if self.plan is None else self.plan.files
        sources = [str(source) for source in self.data_sources] or [type(self._ingestor).__name__]
        return Description(
            kind=type(self).__name__,
            sources=sources if self._ranges is None else [f"a part of {sources[0]}", *sources[1:]],
            schema=self.schema,
            rows=self.known_rows,
            files=None if files is None else len(files),
            size=None if files is None else sum(file.size for file in files),
        )
