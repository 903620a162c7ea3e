"""``kubectl mlpools``: kubectl finds the program ``kubectl-mlpools``, which begins here."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mlpools import __version__
from mlpools_cli.__main__ import run
from mlpools_kubectl import kinds, options
from mlpools_kubectl.options import Span

# What a command needs is imported when it runs: the client alone takes a second, which --help can do without.

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_CODES = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 what is waited for never comes, 4 not in time,
5 not found, 6 no cluster, 7 not allowed. `run` ends with the code of the job's cause.
"""
_FOR = "A condition (Complete, Ready=False), phase=PHASE, or deleted."


@click.group(context_settings=_CONTEXT, epilog=_CODES)
@click.version_option(__version__, prog_name="kubectl mlpools")
def mlpools() -> None:
    """Pools, jobs and notebooks of mlpools.

    NAME is the name of a job, a notebook or a pool; where two have the same name, tj/NAME, bi/NAME, nb/NAME
    or cp/NAME says which one.
    """


@mlpools.command()
@options.cluster
@options.name("[POOL]", [kinds.POOL], required=False)
@options.output
def top(name: str | None, output: str, **where: str | None) -> None:
    """Show pools, who has how much of them, and what holds their nodes."""
    from mlpools_kubectl import showing
    from mlpools_kubectl.cluster import Cluster, Target

    showing.top(Cluster(Target(**where)), name, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("[POOL]", [kinds.POOL], required=False)
@options.output
def queue(name: str | None, output: str, **where: str | None) -> None:
    """Show who waits for nodes, in which order and why."""
    from mlpools_kubectl import showing
    from mlpools_kubectl.cluster import Cluster, Target

    showing.queue(Cluster(Target(**where)), name, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("NAME", kinds.ALL)
@click.option("--for", "wanted", metavar="WHAT", help=_FOR)
@click.option("--timeout", type=Span(), default="1h", show_default=True, help="Give up after so long.")
@options.output
def wait(name: str, wanted: str | None, timeout: float, output: str, **where: str | None) -> None:
    """Wait until a job is complete, a notebook serves, a pool is ready, or what --for says.

    It ends at once, with exit code 3, when that cannot come any more: a job that failed will not be complete.
    """
    from mlpools_kubectl import goals, names, waiting
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    found = names.find(cluster, name, kinds.ALL)
    try:
        goal = goals.goal(wanted, found["kind"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None
    now = waiting.wait(cluster, found, goal, timeout)
    waiting.tell(found, now, goal, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("NAME", kinds.ALL)
@options.output
def start(name: str, output: str, **where: str | None) -> None:
    """Start what rests.

    A job is resumed (spec.suspend becomes false). A notebook or a pool is woken by the annotation
    mlpools.dev/start-requested-at, and its spec.suspend, if that is set, becomes false.
    """
    from mlpools_kubectl import names, power, showing
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    found = names.find(cluster, name, kinds.ALL)
    change = power.start(found, cluster.now())
    now = cluster.patch(found, change.patch) if change.patch else found
    showing.changed(now, change.words, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("NAME", kinds.ALL)
@options.output
def stop(name: str, output: str, **where: str | None) -> None:
    """Have something rest, until it is started again (spec.suspend becomes true).

    A job saves how far it is and gives its nodes back. A notebook's kernels end; its files stay. A pool takes
    nobody any more: its jobs finish, and its notebooks stop.
    """
    from mlpools_kubectl import names, power, showing
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    found = names.find(cluster, name, kinds.ALL)
    change = power.stop(found)
    now = cluster.patch(found, change.patch) if change.patch else found
    showing.changed(now, change.words, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("NAME", kinds.WORK)
@click.option("-r", "--rank", type=click.IntRange(0), default=0, show_default=True, help="Rank of the pod.")
@click.option("--attempt", type=click.IntRange(1), help="Attempt, or start; the last one by default.")
@click.option("-f", "--follow", is_flag=True, help="Go on until it is over, also with attempts to come.")
@click.option("--tail", type=click.IntRange(0), help="Last lines only, so many.")
def logs(
    name: str, rank: int, attempt: int | None, follow: bool, tail: int | None, **where: str | None
) -> None:
    """Print the log of a job's rank, or of a notebook."""
    from mlpools_kubectl import logs as of
    from mlpools_kubectl import names
    from mlpools_kubectl.cluster import Cluster, Target

    if follow and attempt is not None:
        raise click.UsageError("--follow is about the present attempt and those to come, not --attempt.")
    cluster = Cluster(Target(**where))
    found = names.find(cluster, name)
    if follow:
        of.follow(cluster, found, rank=rank, tail=tail)
    else:
        of.show(cluster, found, rank=rank, attempt=attempt, tail=tail)


@mlpools.command("open")
@options.cluster
@options.name("NOTEBOOK", [kinds.NOTEBOOK])
@click.option("--port", type=click.IntRange(1, 65_535), default=None, help="Port of this machine.")
@click.option(
    "--timeout", type=Span(), default="10m", show_default=True, help="Wait so long until it serves."
)
@click.option("--browser", is_flag=True, help="Open it in the browser.")
@options.output
def open_(
    name: str, port: int | None, timeout: float, browser: bool, output: str, **where: str | None
) -> None:
    """Forward a port to a notebook, and print the URL with its token.

    It waits until the notebook serves, and forwards until you press Ctrl-C. A notebook that rests is started
    with `kubectl mlpools start`.
    """
    from mlpools_kubectl import names, opening
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    found = names.find(cluster, name, [kinds.NOTEBOOK])
    opening.notebook(cluster, found, port=port or 0, seconds=timeout, browser=browser, json=output == "json")


@mlpools.command()
@options.cluster
@options.name("JOB", kinds.JOBS)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--checkpoints", is_flag=True, help="Bring the checkpoints, too.")
@click.option("--image", help="Image with tar, for the pod that reads a volume; the job's own by default.")
@click.option("--timeout", type=Span(), default="5m", show_default=True, help="Wait so long for that pod.")
def fetch(
    name: str, folder: Path, checkpoints: bool, image: str | None, timeout: float, **where: str | None
) -> None:
    """Bring a job's model and result, or its predictions, into the folder DIR of this machine.

    From a volume they come through a pod that mounts the job's claim, to read, and is removed at the end.
    From an object store they come by the credentials of this shell's environment.
    """
    from mlpools_kubectl import fetching, names
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    found = names.find(cluster, name, kinds.JOBS)
    fetching.fetch(cluster, found, fetching.Wanted(folder, checkpoints, image, timeout))


@mlpools.command()
@options.cluster
@options.name("NAME", kinds.WORK)
@click.option("--file", "path", type=click.Path(path_type=Path), help="File to write; it is not there yet.")
@click.option(
    "--operator-namespace", default="mlpools-system", show_default=True, help="Where the operator runs."
)
def debug(name: str, path: Path | None, operator_namespace: str, **where: str | None) -> None:
    """Write all that is known about a job or a notebook into one file for who is on call.

    It has the object, its pool, its children, events, logs of its pods and the operator's lines about it.
    The values of Secrets that these name are looked up and taken out everywhere, and so is what looks like a
    credential.
    """
    from mlpools_kubectl import debugging, names
    from mlpools_kubectl.cluster import Cluster, Target

    cluster = Cluster(Target(**where))
    debugging.debug(cluster, names.find(cluster, name), path, operator_namespace)


mlpools.add_command(run)


def main() -> None:
    """Run the command line of this process."""
    try:
        mlpools(prog_name="kubectl mlpools")
    except ModuleNotFoundError as error:
        click.echo(
            f"kubectl mlpools: there is no Python package {error.name} here: pip install 'mlpools[kubectl]' "
            "brings what commands need, and 'mlpools[workloads]' what `run` needs.",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
