"""``mlpools run`` in this process."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlpools.data.writers import commit
from mlpools.storage import locate
from mlpools_cli.__main__ import main
from tests.support.examples import EXAMPLES, small
from tests.support.web import Web


def run_example(name: str, folder: Path) -> None:
    """Run an example's job on a folder as its volume, and look at what it leaves."""
    volume = folder / "volume"
    volume.mkdir()
    EXAMPLES[name].prepare(volume)
    with Web(folder / "web") as web:
        run_manifest(small(name, folder, web), volume)
    for success in volume.glob("scores/*/_SUCCESS"):
        place = locate(success.parent)
        commit.verify(place, commit.read_manifest(place))
        return
    [result] = volume.glob("models/*/result.json")
    written = json.loads(result.read_text())["output"]
    assert written
    assert all((result.parent / file).exists() for file in written)


def run_manifest(path: Path, volume: Path) -> None:
    """Run a file of manifests, which has to end well, with a folder for ``/data``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "PYTHONDONTWRITEBYTECODE", "")
        done = CliRunner().invoke(main, ["run", str(path), "--mount", f"/data={volume}"])
    assert done.exit_code == 0, done.output
