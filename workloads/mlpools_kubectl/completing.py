"""What kubectl's own completion asks for: ``kubectl mlpools wa<TAB>``.

kubectl runs the program ``kubectl_complete-mlpools`` with the words so far, the last of them unfinished, and
reads proposals, a line each, and a last line with what the shell shall do; see "kubectl plugin list --help".
"""

from __future__ import annotations

import sys

import click
from click.shell_completion import ShellComplete

from mlpools_kubectl.__main__ import mlpools

#: Of Cobra's directives: propose nothing else, and propose files.
_NO_FILES, _FILES = 4, 0


def main() -> None:
    """Print the proposals."""
    *before, beginning = sys.argv[1:] or [""]
    proposals = ShellComplete(mlpools, {}, "kubectl mlpools", "").get_completions(before, beginning)
    plain = [it for it in proposals if it.type == "plain"]
    for it in plain:
        click.echo(f"{it.value}\t{it.help}" if it.help else it.value)
    click.echo(f":{_FILES if len(plain) < len(proposals) else _NO_FILES}")
