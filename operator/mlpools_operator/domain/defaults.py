"""Settings of the operator that decisions need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlpools_operator.domain.pool.families import Catalogue

#: What the full image is for without GPUs, too: PyTorch, and whoever imports whatever they like.
_FULL = frozenset({"pytorch", "script", "notebook"})


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job gets where neither it nor its pool says otherwise.

    Attributes:
        runtime_image: image of pods.
        runtime_full_image: image for PyTorch, scripts and GPUs; empty: the same.
        operator_namespace: where the operator runs; only from there may a pod be asked for its status.
        operator_labels: of the operator's pods.
        cluster_domain: the end of the cluster's DNS names.
        image_pull_policy: ``Always``, ``IfNotPresent`` or ``Never``.
        families: the catalogue of machines that pools may name.
        notebooks_domain: under which notebooks have their hosts; empty: they have none.
        ingress_annotations: of their Ingresses, for whoever serves those.
    """

    runtime_image: str
    operator_namespace: str
    operator_labels: Mapping[str, str]
    cluster_domain: str = "cluster.local"
    image_pull_policy: str = "IfNotPresent"
    families: Catalogue = field(default_factory=dict)
    runtime_full_image: str = ""
    notebooks_domain: str = ""
    ingress_annotations: Mapping[str, str] = field(default_factory=dict)

    def image(self, framework: str, gpus: int) -> str:
        """Return the image of pods where neither job nor pool names one.

        Args:
            framework: of the job; empty: unknown.
            gpus: of a node.
        """
        full = gpus > 0 or framework in _FULL
        return (full and self.runtime_full_image) or self.runtime_image
