"""The operator as a process of its own, as it runs in a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.support.waiting import PATIENCE, wait_for

_ROOT = Path(__file__).parents[2]


class Operator:
    """One run of the operator, from its start to its end; a new object is a new run."""

    def __init__(self, folder: Path, kubeconfig: Path, **settings: str) -> None:
        """Start it.

        Args:
            folder: for its log.
            kubeconfig: where it logs in, and as whom.
            settings: lower-case names without prefix, such as ``namespaces="a"``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"operator-{len(list(folder.glob('operator-*.log')))}.log"
        chosen = {
            "runtime_image": "example.test/runtime:1",
            "operator_namespace": "mlpools-system",
            "http_port": "0",
            "log_level": "DEBUG",
            "progress_seconds": "1",
            "probe_seconds": "0.2",
            "look_seconds": "0.2",
            "leader_election": "false",  # a test's operators serve the test's namespace only
            **settings,
        }
        environment = {f"MLPOOLS_{name.upper()}": value for name, value in chosen.items()}
        environment |= {
            "KUBECONFIG": str(kubeconfig),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{_ROOT / 'operator'}:{_ROOT / 'workloads'}",
            "PYTHONUNBUFFERED": "1",
        }
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlpools_operator"], env=environment, stdout=out, stderr=out
            )

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def wait_ready(self, seconds: float = PATIENCE) -> Operator:
        """Return once it serves."""
        wait_for("ready operator", lambda: self.get("/readyz")[0] == 200, seconds)
        return self

    def assert_lives(self) -> None:
        """Raise AssertionError with the end of its log if it has ended."""
        code = self.process.poll()
        assert code is None, f"The operator ended with {code}: {self.log.read_text()[-3000:]}"

    def get(self, path: str) -> tuple[int, str]:
        """Return code and text of its own HTTP port; code 0 while there is none."""
        self.assert_lives()
        port = self._port()
        if port is None:
            return 0, ""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def leads(self) -> bool:
        """Whether it says that it is the one that decides and writes."""
        return "\nmlpools_leader 1.0\n" in self.get("/metrics")[1]

    def requests(self) -> dict[tuple[str, str, str], int]:
        """Return how many requests it has made, by verb, resource and code, as it counts them itself."""
        _, text = self.get("/metrics")
        counts = {}
        for line in text.splitlines():
            if line.startswith("mlpools_api_requests_total{"):
                labels, _, value = line.removeprefix("mlpools_api_requests_total").rpartition(" ")
                pairs = dict(part.split("=") for part in labels.strip("{}").replace('"', "").split(","))
                counts[pairs["verb"], pairs["resource"], pairs["code"]] = int(float(value))
        return counts

    def lines(self) -> list[dict[str, Any]]:
        """Return its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _port(self) -> int | None:
        said = "Serving health and metrics on port "
        for line in self.lines():
            if line["message"].startswith(said):
                return int(line["message"].removeprefix(said).rstrip("."))
        return None
