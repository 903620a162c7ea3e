"""What a pool has to say about the jobs that want its nodes: images, packages, names that it takes itself.

It is checked before a job queues: a mistake must not come to light after hours of waiting.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from mlpools.refusals import package_refusals, required_package
from mlpools_operator.api.v1alpha1 import ComputePoolSpec, PoolPackages
from mlpools_operator.api.v1alpha1.pool_runtime import is_digest
from mlpools_operator.api.v1alpha1.pool_template import MAIN, PodTemplate, objects
from mlpools_operator.domain import wording
from mlpools_operator.domain.pool.ledger import Candidate, Verdict

_SHOWN = 10


def refuse(candidate: Candidate, pool: str, spec: ComputePoolSpec) -> Verdict | None:
    """Return why a pool does not take a job, None if it does.

    Args:
        candidate: the job.
        pool: name of the pool.
        spec: of the pool.
    """
    words = next(_objections(candidate, pool, spec), None)
    if words is not None:
        return candidate.answer(False, "InvalidSpec", words)
    words = next(_on_packages(candidate.brings.packages, pool, spec.packages), None)
    return None if words is None else candidate.answer(False, "PackageNotAllowed", words)


def _objections(candidate: Candidate, pool: str, spec: ComputePoolSpec) -> Iterator[str]:
    brings = candidate.brings
    if brings.image and brings.image != spec.runtime.image:
        yield from _on_image(brings.image, pool, spec)
    if spec.pod_template is not None:
        yield from _on_names(brings.volumes, brings.mounts, pool, spec.pod_template)


def _on_image(image: str, pool: str, spec: ComputePoolSpec) -> Iterator[str]:
    allowed = spec.runtime.allowed_images
    if allowed is not None and not any(fnmatchcase(image, pattern) for pattern in allowed):
        others = f" and {wording.listing(allowed, _SHOWN)}" if allowed else ""
        yield (
            f"spec.runtime.image: pool {pool} does not take the image {image}, only its own{others}. Choose "
            "another, or ask the pool's administrator to add it to runtime.allowedImages."
        )
    if spec.runtime.require_digest and not is_digest(image):
        yield (
            f"spec.runtime.image: pool {pool} takes images by their digest only: name {image} as "
            "name@sha256:…, which `docker images --digests` or your registry shows."
        )


def _on_packages(packages: tuple[str, ...], pool: str, rules: PoolPackages) -> Iterator[str]:
    """Object to packages that the job names. Those that come with them are known to its pods only."""
    names = ((required_package(requirement) or requirement, "") for requirement in packages)
    refused = package_refusals(names, rules.allow, rules.block)
    if refused:
        yield (
            f"spec.runtime.packages: pool {pool} does not take {refused}. Leave out what is named, or ask "
            "the pool's administrator to allow it."
        )


def _on_names(
    volumes: tuple[str, ...], mounts: tuple[str, ...], pool: str, template: PodTemplate
) -> Iterator[str]:
    """Object to names under which the pool's overlay would put something else into the job's pods."""
    mains = [it for it in objects(template.spec, "containers") or () if it.get("name") == MAIN]
    taken = [it.get("name") for it in objects(template.spec, "volumes") or ()]
    paths = [it.get("mountPath") for main in mains for it in objects(main, "volumeMounts") or ()]
    for name in volumes:
        if name in taken:
            yield f"spec.volumes: pool {pool} has a volume named {name} itself. Give yours another name."
    for path in mounts:
        if path in paths:
            yield f"spec.volumeMounts: pool {pool} mounts a volume at {path} itself. Mount yours elsewhere."
