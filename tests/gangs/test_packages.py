"""Real supervisors that install from a real index before their workers start."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from mlpools.contract.ends import Exit, Final
from mlpools.contract.reports import Phase
from mlpools.contract.tasks import Packages
from mlpools.contract.wiring import CACHE_ENV
from tests.support.package_index import PackageIndex
from tests.support.pods import Pods, task, wait_for
from tools.cluster.certificates import Authority, Leaf

#: A worker that says which modules it finds, with their versions, once all ranks are there: when rank 0 has
#: ended, a job is done, and nobody answers a rank that comes later.
WORKER = """
import importlib, json, os, pathlib, sys, time
met = pathlib.Path(__file__).parent
(met / f"met-{os.environ['RANK']}").touch()
while len([*met.glob("met-*")]) < int(os.environ["WORLD_SIZE"]):
    time.sleep(0.01)
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = getattr(importlib.import_module(name), "version", "?")
    except ModuleNotFoundError:
        found[name] = None
final = {"code": 0, "rank": int(os.environ["RANK"]), "outputs": {"found": json.dumps(found)}}
os.write(int(os.environ["MLPOOLS_REPORT_FD"]), json.dumps({"final": final}).encode() + b"\\n")
"""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PackageIndex]:
    with PackageIndex(tmp_path / "index") as index:
        index.wheel("Cat_food", "1.0")
        index.wheel("cat", "1.0", needs=["cat-food>=0.5"])
        index.wheel("cat", "2.0", needs=["cat-food>=0.5"])
        index.wheel("dog", "1.0", needs=["cat==2.0"])
        yield index


class Gang:
    """Pods that install; each has a folder of its own."""

    def __init__(self, folder: Path, packages: Packages, nodes: int = 1, **files: str) -> None:
        self.folder = folder
        mount = folder / "mount"
        mount.mkdir()
        for name, text in files.items():
            (mount / name.replace("_", ".")).write_text(text)
        worker = folder / "worker.py"
        worker.write_text(WORKER)
        self.pods = Pods(
            task(folder / "out", nodes=nodes, packages=packages.to_dict()),
            folder / "pods",
            [sys.executable, str(worker), "cat", "Cat_food", "dog"],
            {"MLPOOLS_PACKAGES_MOUNT": str(mount), "UV_OFFLINE": "1"},
            of_rank={rank: {"MLPOOLS_PACKAGES": str(self.scratch(rank))} for rank in range(nodes)},
        )

    def scratch(self, rank: int) -> Path:
        return self.folder / f"scratch-{rank}"

    def run(self) -> list[Final]:
        with self.pods as pods:
            finals = pods.wait()
        self.output = "".join(pod.output() for pod in self.pods.pods)
        return finals


def found(final: Final) -> dict[str, Any]:
    assert final.code == Exit.DONE, final.message
    result: dict[str, Any] = json.loads(final.outputs["found"])
    return result


def of(index: PackageIndex, wanted: Sequence[str], **rules: Any) -> Packages:
    return Packages(wanted=wanted, index_url=index.url, **rules)


def test_workers_find_what_was_asked_for_and_what_comes_with_it(tmp_path: Path, index: PackageIndex) -> None:
    gang = Gang(tmp_path, of(index, ["cat==1.0"]))
    image = Path(sysconfig.get_path("purelib"))
    before = {*image.iterdir()}
    [final] = gang.run()
    assert {*image.iterdir()} == before, "a pod cannot write there"
    assert found(final) == {"cat": "1.0", "Cat_food": "1.0", "dog": None}
    assert Phase.PACKAGES.value in final.seconds
    assert gang.pods.environ["UV_OFFLINE"], "uv would ask nobody if it listened to the job"
    assert "installed cat 1.0, cat-food 1.0" in gang.output
    assert {path.name for path in gang.scratch(0).iterdir()} == {"lib", "lock.json"}


def test_all_ranks_install_what_rank_0_resolved(tmp_path: Path, index: PackageIndex) -> None:
    """The index gets a newer version after rank 0 looked: the other rank does not take it."""
    gang = Gang(tmp_path, of(index, [], requirements="key a of ConfigMap b"), 2, requirements_txt="cat\n")
    gang.pods.held = frozenset({1})
    with gang.pods as pods:
        wait_for(lambda: (gang.scratch(0) / "lock.json").exists(), what="what rank 0 resolved")
        index.wheel("cat", "3.0")
        pods.release({1})
        finals = pods.wait()
    assert [found(final)["cat"] for final in finals] == ["2.0", "2.0"]


def test_a_blocked_package_is_refused_also_if_it_only_comes_along(
    tmp_path: Path, index: PackageIndex
) -> None:
    gang = Gang(tmp_path, of(index, ["dog==1.0"], block=["CAT.food"]))
    [final] = gang.run()
    assert final.code == Exit.PACKAGE_NOT_ALLOWED
    assert "cat-food, which cat needs: its packages.block has CAT.food" in final.message
    assert not (gang.scratch(0) / "lib").exists()


def test_all_that_is_refused_is_named(tmp_path: Path, index: PackageIndex) -> None:
    [final] = Gang(tmp_path, of(index, ["dog==1.0"], allow=["dog"])).run()
    assert final.code == Exit.PACKAGE_NOT_ALLOWED
    lacks = "its packages.allow does not have it"
    words = f"packages cat, which dog needs: {lacks}; cat-food, which cat needs: {lacks}. Leave out"
    assert words in final.message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("dog==1.0", "does not take the package dog: its packages.allow does not have it"),
        ("--index-url https://elsewhere.test/simple", "'--index-url' in key a of ConfigMap b is not a name"),
        ("cat @ https://elsewhere.test/cat.whl", "is not a name with versions"),
        ("git+https://elsewhere.test/cat", "is not a name with versions"),
        ("-e .", "is not a name with versions"),
    ],
)
def test_a_requirements_file_is_held_to_the_policy(
    tmp_path: Path, index: PackageIndex, line: str, words: str
) -> None:
    packages = of(index, [], requirements="key a of ConfigMap b", allow=["cat*"])
    [final] = Gang(tmp_path, packages, requirements_txt=f"# mine\ncat==1.0  # fine\n{line}\n").run()
    assert final.code == Exit.PACKAGE_NOT_ALLOWED
    assert words in final.message
    assert index.asked == []


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("cat==7.0", "there is no version of cat==7.0"),
        ("no-such-thing==1.0", "no-such-thing was not found"),
    ],
)
def test_what_cannot_be_had_is_the_jobs_own_fault(
    tmp_path: Path, index: PackageIndex, wanted: str, words: str
) -> None:
    [final] = Gang(tmp_path, of(index, [wanted])).run()
    assert final.code == Exit.PACKAGES_NOT_RESOLVED, final.message
    assert words in final.message
    assert "Correct names and versions" in final.message


def test_packages_of_the_image_keep_their_versions(tmp_path: Path, index: PackageIndex) -> None:
    index.wheel("numpy", "0.0.1")
    [final] = Gang(tmp_path, of(index, ["numpy==0.0.1"])).run()
    assert final.code == Exit.PACKAGES_NOT_RESOLVED
    assert "you require numpy==0.0.1 and numpy==" in final.message
    assert "+image" in final.message


@pytest.mark.parametrize("module", ["xgboost", "json"])
def test_no_module_of_the_image_or_of_python_is_hidden(
    tmp_path: Path, index: PackageIndex, module: str
) -> None:
    index.wheel("lookalike", "1.0", module=module)
    [final] = Gang(tmp_path, of(index, ["lookalike==1.0"])).run()
    assert final.code == Exit.PACKAGES_NOT_RESOLVED
    assert f"bring a module {module}" in final.message


def test_an_index_that_tells_nothing_of_its_wheels_is_one_too(tmp_path: Path) -> None:
    """What they need, and their checksums, are then known from the wheels themselves."""
    with PackageIndex(tmp_path / "index", plain=True) as index:
        index.wheel("Cat_food", "1.0")
        index.wheel("cat", "1.0", needs=["cat-food"])
        [final] = Gang(tmp_path, of(index, ["cat==1.0"])).run()
    assert found(final) == {"cat": "1.0", "Cat_food": "1.0", "dog": None}


def test_what_needs_packages_of_the_image_gets_along_with_them(tmp_path: Path, index: PackageIndex) -> None:
    """Neither of them is on the index, and the policy is not asked about them."""
    index.wheel("cow", "1.0", needs=["mlpools>=0.1", "numpy>=2", "cat"])
    [final] = Gang(tmp_path, of(index, ["cow==1.0"], block=["numpy", "mlpools"])).run()
    assert found(final)["cat"] == "2.0"


def test_a_checksum_of_the_requirements_file_counts(tmp_path: Path, index: PackageIndex) -> None:
    line = f"cat==1.0 --hash=sha256:{'0' * 64}\n"
    gang = Gang(tmp_path, of(index, [], requirements="key a of ConfigMap b"), requirements_txt=line)
    [final] = gang.run()
    assert final.code == Exit.PACKAGES_NOT_RESOLVED
    assert "Hash mismatch for `cat==1.0`" in final.message
    assert not [*gang.scratch(0).glob("lib/*.py")]


def test_what_the_image_has_already_is_not_installed(tmp_path: Path, index: PackageIndex) -> None:
    import numpy

    gang = Gang(tmp_path, of(index, [f"numpy=={numpy.__version__}"]))
    [final] = gang.run()
    assert found(final)["cat"] is None
    assert not (gang.scratch(0) / "lib").exists()


def test_an_index_that_is_down_may_be_up_at_the_next_attempt(tmp_path: Path, index: PackageIndex) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/simple"
    [final] = Gang(tmp_path, Packages(wanted=["cat==1.0"], index_url=url)).run()
    assert final.code == Exit.PACKAGE_INDEX_UNAVAILABLE, final.message
    assert "does not answer" in final.message


def test_the_best_version_of_all_indexes_is_taken(tmp_path: Path, index: PackageIndex) -> None:
    with PackageIndex(tmp_path / "other") as other:
        other.wheel("cat", "1.5")
        other.wheel("dog", "7.0")
        gang = Gang(tmp_path, of(index, ["dog==7.0"], requirements="key a of ConfigMap b",
                                 extra_index_urls=[other.url]), requirements_txt="cat\n")  # fmt: skip
        [final] = gang.run()
    assert (found(final)["cat"], found(final)["dog"]) == ("2.0", "7.0")


PASSWORD = 'p"a$s\\w0rd-9f2c'


@pytest.fixture
def private(tmp_path: Path) -> Iterator[PackageIndex]:
    with PackageIndex(tmp_path / "private", "ada", PASSWORD) as index:
        index.wheel("cat", "1.0")
        yield index


def test_credentials_are_used_and_are_nowhere_to_be_read(tmp_path: Path, private: PackageIndex) -> None:
    gang = Gang(
        tmp_path, of(private, ["cat==1.0"], credentials_secret="login"), username="ada\n", password=PASSWORD
    )
    [final] = gang.run()
    assert found(final)["cat"] == "1.0"
    kept = [path for path in [*tmp_path.rglob("*")] if path.is_file() and "mount" not in path.parts]
    assert not [path for path in kept if PASSWORD.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("files", "secret", "code", "words"),
    [
        ({}, "login", Exit.SECRET_MISSING, "needs Secret login with the keys username and password"),
        ({"username": "ada"}, "login", Exit.SECRET_MISSING, "namespace team-a"),
        (
            {"username": "ada", "password": "wrong-one"},
            "login",
            Exit.PACKAGE_INDEX_UNAVAILABLE,
            "correct Secret login",
        ),
        ({}, "", Exit.PACKAGE_INDEX_UNAVAILABLE, "credentialsSecret"),
    ],
)
def test_credentials_that_do_not_open_the_index(
    tmp_path: Path, private: PackageIndex, files: dict[str, str], secret: str, code: Exit, words: str
) -> None:
    gang = Gang(tmp_path, of(private, ["cat==1.0"], credentials_secret=secret), **files)
    [final] = gang.run()
    assert final.code == code, final.message
    assert words in final.message
    assert "wrong-one" not in final.message + gang.output


def test_one_of_several_indexes_that_lets_nobody_in_is_named(
    tmp_path: Path, index: PackageIndex, private: PackageIndex
) -> None:
    private.wheel("cow", "1.0")
    [final] = Gang(tmp_path, of(index, ["cow==1.0"], extra_index_urls=[private.url])).run()
    assert final.code == Exit.PACKAGE_INDEX_UNAVAILABLE, final.message
    assert f"refuses {private.url}" in final.message


def test_wheels_for_the_pools_cache_are_downloaded_with_the_credentials(
    tmp_path: Path, private: PackageIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_ENV, str(tmp_path / "cache"))
    packages = of(private, ["cat==1.0"], credentials_secret="login", cached=True)
    [final] = Gang(tmp_path, packages, username="ada", password=PASSWORD).run()
    assert found(final)["cat"] == "1.0"
    [kept] = [path for path in (tmp_path / "cache" / "wheels").iterdir() if path.name != ".lock"]
    assert kept.read_bytes() == next((private.folder / "cat").iterdir()).read_bytes()


@pytest.mark.parametrize(("trusted", "code"), [(True, Exit.DONE), (False, Exit.PACKAGE_INDEX_UNAVAILABLE)])
def test_the_pools_own_authority_is_trusted_if_it_is_named(tmp_path: Path, trusted: bool, code: Exit) -> None:
    authority = Authority(tmp_path / "authority")
    pair = authority.issue(Leaf("index", "index", hosts=("127.0.0.1",)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    with PackageIndex(tmp_path / "index", tls=context) as index:
        index.wheel("cat", "1.0")
        files = {"ca_crt": authority.pair.certificate.read_text()} if trusted else {}
        packages = of(index, ["cat==1.0"], ca_secret="pypi-ca" if trusted else "")
        [final] = Gang(tmp_path, packages, **files).run()
    assert final.code == code, final.message


def test_a_requirements_file_that_is_not_there(tmp_path: Path, index: PackageIndex) -> None:
    [final] = Gang(tmp_path, of(index, [], requirements="key a of ConfigMap b")).run()
    assert final.code == Exit.SECRET_MISSING
    assert "key a of ConfigMap b is not in namespace team-a" in final.message


def test_a_pod_that_is_stopped_while_it_installs_was_preempted_and_did_not_hang(tmp_path: Path) -> None:
    with socket.socket() as silent:  # takes connections, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        silent.settimeout(30)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        gang = Gang(tmp_path, Packages(wanted=["cat==1.0"], index_url=url))
        gang.pods.task = replace(gang.pods.task, hang_timeout_seconds=1)
        with gang.pods as pods:
            wait_for(lambda: (it := pods[0].report()) and it.phase == Phase.PACKAGES.value)
            wait_for(lambda: (it := pods[0].report()) is None or it.age_seconds > 3)
            connection, _ = silent.accept()
            pods[0].process.terminate()
            [final] = pods.wait()
            connection.close()
    assert final.code == Exit.PREEMPTED


def test_the_rules_travel_as_they_are() -> None:
    packages = Packages(["cat==1.0"], "", "https://i.test", ["https://j.test"], "s", "c", ["*"], ["d*"])
    read = Packages.from_dict(json.loads(packages.to_json()))
    assert asdict(read) == asdict(packages)
