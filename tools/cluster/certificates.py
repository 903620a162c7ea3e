"""The cluster's own certificate authority, with the openssl program.

Every client and server of the cluster is verified, and strictly: Python 3.13 and newer OpenSSLs
refuse an authority without a critical keyUsage, and leaves without key identifiers.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.steps import ToolError

DAYS = 3650


@dataclass(frozen=True)
class Leaf:
    """What a certificate says.

    Attributes:
        name: Its file's name.
        common_name: The user's or server's name.
        organization: The user's group.
        hosts: Names and addresses it serves; empty for a client.
    """

    name: str
    common_name: str
    organization: str = ""
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority in a folder; whatever is there already and still right is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pair = Pair(folder / "ca.crt", folder / "ca.key")
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        if not self.pair.certificate.exists():
            self.key("ca")
            config = self._write("ca.cnf", authority_config())
            self._openssl(
                "req", "-x509", "-new", "-key", self.pair.key, "-config", config,
                "-days", str(DAYS), "-out", self.pair.certificate,
            )  # fmt: skip

    def key(self, name: str) -> Path:
        """A private key (P-256), made where there is none."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            self._openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)
            path.chmod(0o600)
        return path

    def issue(self, leaf: Leaf) -> Pair:
        """A certificate for `leaf`, made anew where its content has changed."""
        pair = Pair(self.folder / f"{leaf.name}.crt", self.key(leaf.name))
        wanted, issued = json.dumps(asdict(leaf)), self.folder / f"{leaf.name}.issued"
        if not (pair.certificate.exists() and issued.exists() and issued.read_text() == wanted):
            config = self._write(f"{leaf.name}.cnf", leaf_config(leaf))
            request = self.folder / f"{leaf.name}.csr"
            self._openssl("req", "-new", "-key", pair.key, "-config", config, "-out", request)
            self._openssl(
                "x509", "-req", "-in", request, "-CA", self.pair.certificate, "-CAkey", self.pair.key,
                "-set_serial", f"0x{secrets.token_hex(16)}", "-days", str(DAYS),
                "-extfile", config, "-extensions", "extensions", "-out", pair.certificate,
            )  # fmt: skip
            issued.write_text(wanted)
        return pair

    def public_key(self, name: str) -> Path:
        """The public half of the key of that name."""
        path = self.folder / f"{name}.pub"
        self._openssl("pkey", "-in", self.key(name), "-pubout", "-out", path)
        return path

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def _openssl(self, *arguments: str | Path) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ToolError(f"openssl {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")


def authority_config() -> str:
    """The openssl configuration of the authority itself."""
    return _config(
        ["CN = mlpools-local"],
        [
            "basicConstraints = critical, CA:TRUE",
            "keyUsage = critical, keyCertSign, cRLSign, digitalSignature",
            "subjectKeyIdentifier = hash",
        ],
    )


def leaf_config(leaf: Leaf) -> str:
    """The openssl configuration of a server's or a client's certificate."""
    subject = [f"CN = {leaf.common_name}"] + ([f"O = {leaf.organization}"] if leaf.organization else [])
    extensions = [
        "basicConstraints = critical, CA:FALSE",
        "keyUsage = critical, digitalSignature",
        f"extendedKeyUsage = {'serverAuth, clientAuth' if leaf.hosts else 'clientAuth'}",
        "subjectKeyIdentifier = hash",
        "authorityKeyIdentifier = keyid",
    ]
    if leaf.hosts:
        extensions.append("subjectAltName = " + ", ".join(map(_alternative_name, leaf.hosts)))
    return _config(subject, extensions)


def _alternative_name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _config(subject: list[str], extensions: list[str]) -> str:
    head = ["[req]", "prompt = no", "distinguished_name = subject", "x509_extensions = extensions"]
    return "\n".join([*head, "[subject]", *subject, "[extensions]", *extensions, ""])
