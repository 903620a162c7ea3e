"""The configuration files that the cluster's programs read."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from tools.cluster import cgroups, dns, kubeconfig, node_files, storage
from tools.cluster.certificates import Authority, Leaf, Pair
from tools.cluster.controlplane import etcd_command
from tools.cluster.image_store import seed_config
from tools.cluster.node_files import NodeFiles

FILES = NodeFiles("dev", 2, Path("/tmp/state"))


def test_what_containerd_keeps_lies_in_the_node_s_folder() -> None:
    config = tomllib.loads(node_files.containerd_config(FILES))
    own = "/tmp/state/nodes/node2/"
    assert config["root"].startswith(own)
    assert config["plugins"]["io.containerd.internal.v1.opt"]["path"].startswith(own)
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["cni"]["conf_dir"].startswith(own)


def test_an_importing_containerd_touches_only_its_folders() -> None:
    config = tomllib.loads(seed_config(Path("/c/root"), Path("/c/state"), Path("/c/socket")))
    assert (config["root"], config["state"], config["grpc"]["address"]) == (
        "/c/root",
        "/c/state",
        "/c/socket",
    )
    assert config["plugins"]["io.containerd.internal.v1.opt"]["path"].startswith("/c/")


def test_a_state_folder_below_tmp_is_not_hidden_by_the_node_s_own() -> None:
    lines = node_files.root_script(FILES, Path("/home/a/.cache")).splitlines()
    own = next(number for number, line in enumerate(lines) if line.endswith("/merged/tmp"))
    state = next(number for number, line in enumerate(lines) if line.startswith("mount --bind /tmp/state "))
    assert own < state


def test_a_node_is_shown_every_setting_that_a_kubelet_would_change() -> None:
    script = node_files.root_script(FILES, Path("/cache"))
    for setting, value in node_files.KERNEL_SETTINGS.items():
        (line,) = [line for line in script.splitlines() if line.endswith(f" /proc/sys/{setting}")]
        assert line.startswith(f"echo {value} > /run/")
        assert f"> /proc/sys/{setting}" not in script


def test_pods_of_two_instances_and_nodes_have_cgroups_of_their_own() -> None:
    pair = Pair(Path("a.crt"), Path("a.key"))
    roots = {
        node_files.kubelet_config(NodeFiles(instance, number, Path("/s")), Path("ca"), pair)["cgroupRoot"]
        for instance in ("dev", "e2e")
        for number in (1, 2)
    }
    assert len(roots) == 4
    assert cgroups.path("dev", 1) in roots


def test_no_denial_of_a_cluster_name_is_remembered() -> None:
    corefile = dns.corefile(Path("/k"))
    assert "disable denial cluster.local" in corefile
    assert "ttl 5" in corefile


def test_one_class_is_the_default_and_the_other_is_shared() -> None:
    classes = {
        each["metadata"]["name"]: each
        for each in storage.manifests(Path("/v"))
        if each["kind"] == "StorageClass"
    }
    defaults = [
        name
        for name, each in classes.items()
        if each["metadata"]["annotations"].get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    assert defaults == ["local"]
    configured = storage.config(Path("/v"))["storageClassConfigs"]
    assert set(configured) == set(classes)
    assert configured["shared"] == {"sharedFileSystemPath": "/v/shared"}


@pytest.mark.parametrize("fsync", [True, False])
def test_etcd_forgoes_fsync_only_when_told(fsync: bool) -> None:
    assert ("--unsafe-no-fsync" in etcd_command(Path("etcd"), fsync=fsync)) is not fsync


def test_a_kubeconfig_is_for_its_owner_and_says_who_and_where(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.issue(Leaf("admin", "admin", "system:masters"))
    text = kubeconfig.with_certificate("https://198.18.0.2:6443", authority.pair.certificate, pair)
    path = kubeconfig.write(tmp_path / "kubeconfig", text)
    assert path.stat().st_mode & 0o777 == 0o600
    assert kubeconfig.server_of(path) == "https://198.18.0.2:6443"
    assert set(json.loads(text)["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
