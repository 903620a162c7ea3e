"""The local cluster from the command line.

python -m tools.cluster up        bring it up, or what is missing of it
python -m tools.cluster status    what runs, what does not
python -m tools.cluster logs      the last lines of every program, or of one: logs node1-kubelet
python -m tools.cluster down      remove it, and nothing else
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import preflight
from tools.cluster.instance import Instance
from tools.steps import ToolError, step, told


def up(instance: Instance, arguments: argparse.Namespace) -> None:
    """Bring it up and say how to reach it."""
    if obstacle := preflight.can_run_cluster():
        raise ToolError(obstacle)
    preflight.install()
    with step(f"bringing up the cluster {instance.name}"):
        instance.up(archives=arguments.images)
    print(f"    export KUBECONFIG={instance.kubeconfig}")


def down(instance: Instance, arguments: argparse.Namespace) -> None:
    """Remove it."""
    with step(f"removing the cluster {instance.name}"):
        instance.down()


def status(instance: Instance, arguments: argparse.Namespace) -> None:
    """Say whether it is well.

    Raises:
        ToolError: it is not.
    """
    if problem := instance.problem():
        raise ToolError(f"The cluster {instance.name} is not well: {problem} (state: {instance.state})")
    print(f"The cluster {instance.name} is up: {instance.control.server}, {len(instance.nodes)} nodes ready")
    print(f"    export KUBECONFIG={instance.kubeconfig}")


def logs(instance: Instance, arguments: argparse.Namespace) -> None:
    """Show the last lines of what its programs wrote."""
    found = sorted((instance.state / "logs").glob(f"{arguments.program or '*'}.log"))
    if not found:
        raise ToolError(f"No log of {arguments.program or 'any program'} in {instance.state / 'logs'}.")
    subprocess.run(["tail", f"--lines={arguments.lines}", *found], check=True)


COMMANDS = {"up": up, "down": down, "status": status, "logs": logs}


def main(argv: Sequence[str]) -> int:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, function in COMMANDS.items():
        command = commands.add_parser(name, help=function.__doc__.splitlines()[0] if function.__doc__ else "")
        command.add_argument("--name", default="dev", help="of the cluster (%(default)s)")
        command.add_argument("--state", type=Path, help="its state folder")
        if function is up:
            command.add_argument("--audit", action="store_true", help="write logs/audit.jsonl")
            command.add_argument("--images", type=Path, nargs="*", default=(), help="OCI archives to import")
        if function is logs:
            command.add_argument("program", nargs="?", help="for example kube-apiserver or node1-kubelet")
            command.add_argument("--lines", type=int, default=10, help="of each (%(default)s)")
    arguments = parser.parse_args(argv)
    with told():
        instance = Instance(arguments.name, arguments.state, audit=getattr(arguments, "audit", False))
        COMMANDS[arguments.command](instance, arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
