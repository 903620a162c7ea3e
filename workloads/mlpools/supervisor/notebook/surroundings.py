"""What a notebook's program finds around it: its variables, its commands, and the kernel it starts.

``pip`` and ``uv`` are commands of ours, since what they install has to come from the pool's index and to
outlive the pod, whose root file system is read-only.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from mlpools.contract import wiring
from mlpools.contract.tasks import Notebook, Packages, Task
from mlpools.notebook import kept

_COMMANDS = ("pip", "pip3", "uv")
_KERNEL = "mlpools.notebook.kernel"
#: JupyterLab asks each person whether it may fetch news, also where it is told that there are none.
_LAB_DEFAULTS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
#: Of the pod that finds out which packages all take, and of one that asks it.
_ALONE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "GROUP_RANK": "0"}
_FURTHER = {**_ALONE, "RANK": "1", "WORLD_SIZE": "2", "GROUP_RANK": "1"}


class Surroundings:
    """The environment of one start.

    Attributes:
        library: folder with the packages that were installed in the notebook.
    """

    def __init__(
        self, task: Notebook, workspace: Path, packages_folder: str, environ: Mapping[str, str]
    ) -> None:
        """Prepare.

        Args:
            task: what the operator told.
            workspace: its files.
            packages_folder: where the packages of the spec are installed.
            environ: of the pod.
        """
        self._task, self._workspace, self._environ = task, workspace, environ
        self._temporary = Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108
        own = f"{packages_folder}/{wiring.PACKAGES_LIBRARY}"
        paths = (own, environ.get("PYTHONPATH"), environ.get(wiring.INJECTED_ENV))
        self._paths = [path for path in paths if path]
        self._spec_library = own
        self.library = Path()

    def installing(self) -> dict[str, str]:
        """Return the environment of the installer of the spec's packages, which reads a job's task.

        The further nodes of a cluster take exactly what its head took.
        """
        task = self._task
        told = Task(
            namespace=task.namespace,
            name=task.name,
            uid=task.uid,
            attempt=task.attempt,
            nodes=2 if task.head else 1,
            coordinator=task.head or "127.0.0.1",
            framework="notebook",
            spec={},
            data={},
            output={},
            checkpoint={},
            packages=dict(task.packages),
        )
        place = {**_FURTHER, "MASTER_ADDR": task.head} if task.head else _ALONE
        return {**self._environ, wiring.TASK_ENV: told.to_json(), **place}

    def has(self, module: str) -> bool:
        """Whether the program would find a module: in the image, or among what was installed."""
        paths = [*self._paths, *sys.path, str(self.library)]
        found = importlib.machinery.PathFinder.find_spec(module, paths)
        return found is not None and found.origin is not None

    def of_node(self) -> dict[str, str]:
        """Return the environment of Ray on a further node, which has the packages of the spec only."""
        return {**self._environ, "PYTHONPATH": ":".join(self._paths)}

    def settle(self) -> None:
        """Find out for which image packages are installed, once those of the spec are."""
        self.library = kept.library(self._workspace, kept.image([*sys.path, self._spec_library]))

    def of_commands(self) -> dict[str, str]:
        """Return the environment of what installs: to it only the image and the spec have packages."""
        return {
            **self._environ,
            "PYTHONPATH": ":".join(self._paths),
            "PYTHONSAFEPATH": "1",
            wiring.WORKSPACE_ENV: str(self._workspace),
            wiring.NOTEBOOK_LIBRARY_ENV: str(self.library),
        }

    def of_program(self) -> dict[str, str]:
        """Lay down what the program finds, and return its environment."""
        # Python forgets a folder that is not there when it looks first.
        self.library.mkdir(parents=True, exist_ok=True)
        commands, jupyter = self._lay_commands(), self._lay_jupyter()
        environ = self._environ
        around = {
            **environ,
            "PATH": _joined(str(commands), environ.get("PATH")),
            "PYTHONPATH": _joined(*self._paths),
        }
        return {
            **_indexes(Packages.from_dict(self._task.packages)),
            **around,
            # What a person sets up at home stays; what belongs to a run of the server does not.
            **kept.found_by_kernels(self._workspace, self.library, around),
            "JUPYTER_RUNTIME_DIR": str(self._temporary / "jupyter-runtime"),
            "JUPYTER_PATH": _joined(str(jupyter), environ.get("JUPYTER_PATH")),
            "JUPYTER_CONFIG_PATH": _joined(str(jupyter), environ.get("JUPYTER_CONFIG_PATH")),
        }

    def _lay_commands(self) -> Path:
        folder = self._temporary / "mlpools-commands"
        folder.mkdir(exist_ok=True)
        changed = {
            name: value for name, value in self.of_commands().items() if self._environ.get(name) != value
        }
        changed["PATH"] = self._environ.get("PATH", "")
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in sorted(changed.items()))
        for name in _COMMANDS:
            program = f"{shlex.quote(sys.executable)} -m mlpools.notebook.commands {name.rstrip('3')}"
            file = folder / name
            file.write_text(f'#!/bin/sh\n{variables} exec {program} "$@"\n', encoding="utf-8")
            file.chmod(0o755)
        return folder

    def _lay_jupyter(self) -> Path:
        """Write what JupyterLab reads besides its own files, and return the folder."""
        folder = self._temporary / "mlpools-jupyter"
        found = importlib.util.find_spec("ipykernel")
        if self._task.command or found is None or found.origin is None:
            return folder
        _lay_kernel(folder / "kernels" / "python3", Path(found.origin).parent / "resources")
        defaults = folder / "labconfig" / "default_setting_overrides.json"
        defaults.parent.mkdir(parents=True, exist_ok=True)
        defaults.write_text(json.dumps(_LAB_DEFAULTS), encoding="utf-8")
        return folder


def _lay_kernel(target: Path, pictures: Path) -> None:
    """Write the description of JupyterLab's own kernel, which loads what kernels here know besides."""
    shutil.copytree(pictures, target, dirs_exist_ok=True)
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    described = {
        "argv": [*launch, f"--InteractiveShellApp.extra_extensions={_KERNEL}"],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "metadata": {"debugger": True},
    }
    (target / "kernel.json").write_text(json.dumps(described), encoding="utf-8")


def _indexes(packages: Packages) -> dict[str, str]:
    """Return what leads the pip and the uv of a person's own virtual environment to the pool's index."""
    more = " ".join(packages.extra_index_urls)
    first = packages.index_url
    return {
        **({"PIP_INDEX_URL": first, "UV_DEFAULT_INDEX": first} if first else {}),
        **({"PIP_EXTRA_INDEX_URL": more, "UV_INDEX": more} if more else {}),
    }


def _joined(*paths: str | None) -> str:
    return ":".join(path for path in paths if path)
