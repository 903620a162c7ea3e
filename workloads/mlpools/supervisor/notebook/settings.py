"""Where the pod of a notebook runs, and what it was told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlpools.contract import wiring
from mlpools.contract.tasks import Notebook


class Settings(NamedTuple):
    """Where a notebook runs; tests have other places.

    Attributes:
        task: what the operator told.
        workspace: its files.
        token_file: with the token that opens it.
        status_port: where the supervisor answers.
        termination_log: where the last words go.
        packages_folder: where packages are installed.
        address: at which the other pods reach this one.
        ray_port: where the head of a Ray cluster listens.
        dashboard_port: where its dashboard is.
        head_port: where the head's supervisor answers.
    """

    task: Notebook
    workspace: Path
    token_file: Path
    status_port: int
    termination_log: str
    packages_folder: str
    address: str
    ray_port: int
    dashboard_port: int
    head_port: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment.

        Raises:
            ContractError: what the operator told cannot be read.
        """
        return cls(
            address=environ.get(wiring.POD_IP_ENV, "127.0.0.1"),
            task=Notebook.from_json(environ[wiring.NOTEBOOK_ENV]),
            workspace=Path(environ.get(wiring.WORKSPACE_ENV, wiring.WORKSPACE)),
            token_file=Path(environ.get(wiring.TOKEN_ENV, wiring.TOKEN_MOUNT), wiring.TOKEN_FILE),
            status_port=int(environ.get(wiring.STATUS_PORT_ENV, wiring.STATUS_PORT)),
            termination_log=environ.get(wiring.TERMINATION_LOG_ENV, wiring.TERMINATION_LOG),
            packages_folder=environ.get(wiring.PACKAGES_ENV, wiring.PACKAGES_FOLDER),
            ray_port=int(environ.get(wiring.COORDINATOR_PORT_ENV, wiring.COORDINATOR_PORT)),
            dashboard_port=int(environ.get(wiring.DASHBOARD_PORT_ENV, wiring.DASHBOARD_PORT)),
            head_port=int(environ.get(wiring.LEADER_PORT_ENV, wiring.STATUS_PORT)),
        )
