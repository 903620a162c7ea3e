"""What a command ends with if it cannot do its work: one sentence, and an exit code for scripts.

2 is click's own, for a wrong command line.
"""

from __future__ import annotations

from typing import IO, Any

import click


class Failure(click.ClickException):
    """The command ends here."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on standard error."""
        click.echo(f"kubectl mlpools: {self.message}", file=file, err=file is None)


class Never(Failure):
    """What is waited for cannot come any more."""

    exit_code = 3


class TooLate(Failure):
    """It did not come in time."""

    exit_code = 4


class NotFound(Failure):
    """There is no such object."""

    exit_code = 5


class NoCluster(Failure):
    """No API server answers, or nobody says where one is."""

    exit_code = 6


class Forbidden(Failure):
    """The API server does not let this person."""

    exit_code = 7
