"""Options and arguments that commands share, and what the shell completes them with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NAMESPACE = click.option("-n", "--namespace", help="Namespace, instead of the kubeconfig's.")
_CONTEXT = click.option("--context", help="Context of the kubeconfig, instead of the current one.")
_KUBECONFIG = click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Kubeconfig to use.")

output = click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    help="json for programs; text is for people.",
)


def cluster(command: _Command) -> _Command:
    """Add the options that say which cluster and namespace; they are the fields of a ``Target``."""
    return _NAMESPACE(_CONTEXT(_KUBECONFIG(command)))


def name(label: str, kinds: Sequence[str], *, required: bool = True) -> Callable[[_Command], _Command]:
    """Return an argument that names an object, which the shell completes from the cluster."""

    def complete(context: click.Context, _: click.Parameter, beginning: str) -> list[CompletionItem]:
        return [CompletionItem(it) for it in _names(context.params, kinds, beginning)]

    return click.argument("name", metavar=label, required=required, shell_complete=complete)


def _names(given: dict[str, Any], kinds: Sequence[str], beginning: str) -> list[str]:
    from mlpools_kubectl.cluster import Cluster, Target  # with the client: that takes a second
    from mlpools_kubectl.failures import Failure
    from mlpools_operator.cluster.kinds import OURS

    found: set[str] = set()
    with contextlib.suppress(Failure):  # a shell that completes has nowhere to say it
        cluster = Cluster(Target(given.get("namespace"), given.get("context"), given.get("kubeconfig")))
        for kind in kinds:
            found |= {str(it["metadata"]["name"]) for it in cluster.list(OURS[kind])}
    return sorted(it for it in found if it.startswith(beginning))


class Span(click.ParamType[float]):
    """A span of time as kubectl writes it: ``90s``, ``10m``, ``1h30m``; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        import durationpy

        if isinstance(value, float):
            return value
        try:
            seconds: float = durationpy.from_str(str(value)).total_seconds()
        except durationpy.DurationError:
            self.fail(f"{value!r} is no span of time such as 90s, 10m or 1h30m.", param, ctx)
        return seconds
