"""One pass over one notebook: what it is, what was seen, and when."""

from __future__ import annotations

from dataclasses import dataclass

from mlpools_operator.api.v1alpha1 import NotebookRuntimeSpec
from mlpools_operator.domain import naming
from mlpools_operator.domain.notebook.idle import Look
from mlpools_operator.domain.notebook.observed import Observed
from mlpools_operator.domain.notebook.status import Draft
from mlpools_operator.domain.observed import JobChild, PodChild, Resource


@dataclass(frozen=True, slots=True)
class Step:
    """One pass over one notebook."""

    notebook: Resource
    spec: NotebookRuntimeSpec
    draft: Draft
    observed: Observed
    now: float

    @property
    def made(self) -> JobChild | None:
        """Its StatefulSet."""
        uid = self.notebook.meta.uid
        return next((it for it in self.observed.sets if it.meta.owner == uid), None)

    @property
    def jobs(self) -> list[JobChild]:
        """The Jobs of its further nodes, of all starts."""
        uid = self.notebook.meta.uid
        return [it for it in self.observed.nodes if it.meta.owner == uid]

    @property
    def job(self) -> JobChild | None:
        """The one of the present start."""
        attempt = self.draft.before.attempt
        return next((it for it in self.jobs if it.attempt == attempt and not it.meta.deleting), None)

    @property
    def own(self) -> list[PodChild]:
        """The pods of the present start that serve."""
        return [it for it in self._present if not _is_node(it)]

    @property
    def further(self) -> list[PodChild]:
        """The further nodes of the present start."""
        return [it for it in self._present if _is_node(it)]

    @property
    def _present(self) -> list[PodChild]:
        return [it for it in self.observed.pods if it.attempt == self.draft.before.attempt]

    @property
    def pod(self) -> PodChild | None:
        """The one that serves, or is to."""
        return max(self.own, key=lambda it: it.meta.created, default=None)

    @property
    def look(self) -> Look | None:
        """The newest look at it."""
        seen = self.observed.look
        return seen if seen is not None and seen.attempt == self.draft.before.attempt else None


def _is_node(pod: PodChild) -> bool:
    return pod.meta.labels.get(naming.PART) == naming.NODE
