"""``mlpools`` and ``python -m mlpools_cli``."""

from __future__ import annotations

from pathlib import Path

import click

from mlpools import __version__

_EXAMPLES = """\b
Examples:
  mlpools run job.yaml --mount /data=./flights
  mlpools run job.yaml --nodes 4 --mode Overwrite
"""
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
@click.version_option(__version__, prog_name="mlpools")
def main() -> None:
    """Distributed training and batch inference from one manifest, on a cluster or on this machine.

    On a cluster, `kubectl apply -f job.yaml` runs a TrainingJob or a BatchInference. Here,
    `mlpools run job.yaml` does.
    """


@main.command(epilog=_EXAMPLES)
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-n", "--nodes", type=click.IntRange(1, 256), help="Ranks to start, instead of spec.nodes.")
@click.option(
    "-m",
    "--mount",
    "mounts",
    multiple=True,
    metavar="PATH=FOLDER",
    help="The folder of this machine that stands for a volume: /data=./flights. May be given several times.",
)
@click.option(
    "-k",
    "--keys",
    "keys",
    multiple=True,
    metavar="NAME=FOLDER",
    help="The folder that stands for a Secret or a ConfigMap: a file for each key.",
)
@click.option(
    "--mode",
    type=click.Choice(["Error", "Overwrite", "Resume"]),
    help="What to do about an older result, instead of spec.output.mode.",
)
@click.pass_context
def run(
    context: click.Context,
    manifest: Path,
    nodes: int | None,
    mounts: tuple[str, ...],
    keys: tuple[str, ...],
    mode: str | None,
) -> None:
    """Run the TrainingJobs and BatchInferences of a manifest on this machine.

    It is the manifest that a cluster takes, checked by the same rules: the same data for each rank, the same
    checkpoints, the same output. Each node is a process here, and they share this machine's CPUs. Of several
    jobs each begins when the one before it has succeeded.

    Volumes are folders (--mount), and so are Secrets and ConfigMaps (--keys), as far as they are not in the
    same file. Without a folder, variables that a cluster takes from them are those of this shell.

    Ctrl-C stops, and what is saved or written by then stays; --mode Resume goes on from it.
    """
    from mlpools_cli.run import Given, pairs, run_file  # takes half a second, which --help can do without

    given = Given(nodes, mode, pairs("--mount", mounts), pairs("--keys", keys))
    context.exit(run_file(manifest, given))


if __name__ == "__main__":
    main()
