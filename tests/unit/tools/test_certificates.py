"""The cluster's certificates hold under OpenSSL's strictest checks, and in a real handshake."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE
from tools.cluster.certificates import Authority, Leaf, Pair

SERVER = Leaf("server", "kube-apiserver", hosts=("localhost", "kubernetes.default", "127.0.0.1", "10.96.0.1"))
CLIENT = Leaf("client", "system:node:node1", "system:nodes")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


def described(pair: Pair, option: str) -> str:
    command = ["openssl", "x509", "-in", pair.certificate, "-noout", *option.split()]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("leaf", [SERVER, CLIENT], ids=["server", "client"])
def test_strict_verification_accepts_a_leaf(authority: Authority, leaf: Leaf) -> None:
    pair = authority.issue(leaf)
    command = ["openssl", "verify", "-x509_strict", "-CAfile", authority.pair.certificate, pair.certificate]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_client_s_subject_is_its_user_and_group(authority: Authority) -> None:
    subject = described(authority.issue(CLIENT), "-subject -nameopt RFC2253")
    assert "O=system:nodes" in subject
    assert "CN=system:node:node1" in subject


def test_a_server_names_its_hosts_and_addresses(authority: Authority) -> None:
    names = described(authority.issue(SERVER), "-ext subjectAltName")
    assert "DNS:localhost, DNS:kubernetes.default, IP Address:127.0.0.1, IP Address:10.96.0.1" in names


def test_a_leaf_is_kept_until_it_changes(authority: Authority) -> None:
    first = authority.issue(SERVER).certificate.read_bytes()
    assert Authority(authority.folder).issue(SERVER).certificate.read_bytes() == first
    changed = Leaf("server", "kube-apiserver", hosts=("198.18.0.2",))
    assert "198.18.0.2" in described(authority.issue(changed), "-ext subjectAltName")


def test_keys_are_for_their_owner_only(authority: Authority) -> None:
    pair = authority.issue(CLIENT)
    assert {path.stat().st_mode & 0o077 for path in (pair.key, authority.pair.key, authority.folder)} == {0}


@pytest.mark.parametrize(("host", "accepted"), [("localhost", True), ("kubernetes.other", False)])
def test_both_sides_know_each_other_in_a_handshake(authority: Authority, host: str, accepted: bool) -> None:
    server, client = authority.issue(SERVER), authority.issue(CLIENT)
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.pair.certificate)
    listening.load_cert_chain(server.certificate, server.key)
    listening.verify_mode = ssl.CERT_REQUIRED
    calling = ssl.create_default_context(cafile=authority.pair.certificate)
    calling.verify_flags |= ssl.VERIFY_X509_STRICT
    calling.load_cert_chain(client.certificate, client.key)
    here, there = socket.socketpair()

    def serve() -> None:
        with there:
            try:
                with listening.wrap_socket(there, server_side=True) as secure:
                    secure.sendall(b"hello")
            except ssl.SSLError:
                pass  # the client does not want this server

    thread = threading.Thread(target=serve)
    thread.start()
    with here:
        if accepted:
            with calling.wrap_socket(here, server_hostname=host) as secure:
                assert secure.recv(5) == b"hello"
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
                calling.wrap_socket(here, server_hostname=host)
    thread.join(PATIENCE)
    assert not thread.is_alive()
