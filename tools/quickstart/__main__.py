"""`make run`: from a bare machine to a trained model, every step with what it does and how long it took.

python -m tools.quickstart                                      a cluster on this machine
python -m tools.quickstart --context NAME --registry REGISTRY   a cluster that you have
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tools import images, preflight
from tools.binaries import GROUPS, binaries
from tools.cluster.instance import Instance
from tools.kubectl import Kubectl
from tools.quickstart import data, install
from tools.quickstart.follow import follow
from tools.steps import ToolError, cache_dir, told

JOB = "arrival-delay"


@dataclass
class Stopwatch:
    """Seconds of each stage, in order."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Time one stage and say what it does."""
        print(f"{what} …", flush=True)
        started = time.monotonic()
        yield
        took = self.seconds[name] = round(time.monotonic() - started, 2)
        print(f"✓ {what} ({took:.1f} s)", flush=True)


def local_cluster(name: str, state: Path | None, watch: Stopwatch) -> tuple[Kubectl, dict[str, str]]:
    """Bring up the cluster on this machine; return it and the images that are in it.

    Raises:
        ToolError: this machine cannot run one, or a step failed.
    """
    if obstacle := preflight.can_run_cluster():
        raise ToolError(
            f"{obstacle} Use a cluster that you have (make run CONTEXT=name), or see README.md for kind."
        )
    with watch.stage("machine", "Checking this machine and installing what it lacks"):
        preflight.install()
    with watch.stage("binaries", "Getting Kubernetes' programs"):
        binaries(GROUPS["cluster"])
    with watch.stage("images", "Building the images"):
        built = images.build()
    instance = Instance(name, state)
    with watch.stage("cluster", "Starting two nodes and their control plane"):
        instance.up(archives=[path for archive in built.values() for path in archive.paths])
    return Kubectl(instance.kubeconfig), {target: archive.reference for target, archive in built.items()}


def existing_cluster(context: str, registry: str) -> tuple[Kubectl, dict[str, str]]:
    """The user's cluster; its nodes pull the images from a registry.

    Raises:
        ToolError: it is not said from which registry.
    """
    if not registry:
        raise ToolError(
            f"The nodes of {context} must pull the images from somewhere: build and push them as README.md "
            f"shows, then `make run CONTEXT={context} REGISTRY=registry.example.com/ml`."
        )
    version = images.version()
    references = {target: f"{registry}/mlpools-{target}:{version}" for target in install.VALUES}
    return Kubectl(context=context, prefer_own=True), references


def submit(cluster: Kubectl) -> None:
    """Apply the example; an earlier run of it is replaced, since ended jobs do not change."""
    cluster.delete("trainingjob", JOB)
    for name in ("pool.yaml", "training.yaml"):
        cluster.apply((data.EXAMPLE / name).read_text())


def summary(cluster: Kubectl, flights: data.Flights, console: Console) -> None:
    """Print where the model is, how good it is, and what to try next."""
    job: dict[str, Any] = cluster.get("trainingjob", JOB) or {}
    status = job["status"]
    pods = cluster.list("pods", selector=f"mlpools.dev/job-name={JOB}")
    nodes = sorted({pod["spec"]["nodeName"] for pod in pods})
    rmse = status["metrics"]["eval-rmse"]

    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    say(f"\n  Model     {status['output']['modelURL']} (in the volume claim {data.CLAIM})")
    say(
        f"  Held out  {flights.eval_rows:,} flights, off by {rmse:.2f} minutes (RMSE); "
        f"always answering the mean is off by {flights.naive_rmse:.2f}"
    )
    say(
        f"  Training  {flights.train_rows:,} flights on {len(pods)} pods of {' and '.join(nodes)}, "
        f"{status['progress']['step']} rounds"
    )
    say("\n  Try next")
    if cluster.kubeconfig:
        say(f"    export KUBECONFIG={cluster.kubeconfig}")
        say(f"    export PATH={Path(cluster.program('kubectl')).parent}:$PATH")
    for line in ("kubectl get mlpools", f"kubectl describe tj {JOB}", f"kubectl get tj {JOB} -o yaml"):
        say(f"    {line}")
    if cluster.kubeconfig:
        say("    make down")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Do all of it; the exit code is 0 only with a trained model."""
    watch = Stopwatch()
    started = time.monotonic()
    if arguments.context:
        cluster, references = existing_cluster(arguments.context, arguments.registry)
    else:
        cluster, references = local_cluster(arguments.name, arguments.state, watch)
    data.make_claim(cluster, arguments.storage_class)
    with watch.stage("operator", "Installing the operator with Helm"):
        install.operator(cluster, references, replicas=None if arguments.context else install.LOCAL_REPLICAS)
    with watch.stage("data", "Copying real flights into the cluster's volume"):
        flights = data.make()
        data.load(cluster, flights, references["runtime"])
    with watch.stage("job", f"Training {JOB}"):
        submit(cluster)
        end = follow(lambda: cluster.get("trainingjob", JOB), console)
    watch.seconds["total"] = round(time.monotonic() - started, 2)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(watch.seconds, indent=2) + "\n")
    if end.stage != "succeeded" or not end.ended:
        raise ToolError(f"The job {JOB} did not succeed. {end.text}")
    summary(cluster, flights, console)
    return 0


def main(argv: Sequence[str]) -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--context", help="a context of your kubeconfig, instead of a cluster on this machine"
    )
    parser.add_argument("--registry", default="", help="where that cluster's nodes pull the images from")
    parser.add_argument(
        "--storage-class",
        default=data.SHARED,
        help="of that cluster, for ReadWriteMany volumes (%(default)s)",
    )
    parser.add_argument("--name", default="dev", help="of the cluster on this machine")
    parser.add_argument("--state", type=Path, help="where it keeps its state")
    parser.add_argument("--json", help="write the seconds of each stage to this file")
    try:
        with told():
            return run(parser.parse_args(argv), Console())
    except KeyboardInterrupt:
        print(f"\nStopped; what was made stays (caches in {cache_dir()}); `make run` goes on from here.")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
