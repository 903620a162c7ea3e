"""Without keys of its own a pod asks for some, with the token that Kubernetes puts into it."""

from __future__ import annotations

import http.server
import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from mlpools.errors import DataNotReadable
from mlpools.storage import client, locate
from tests.support.object_store import ObjectStore
from tools.cluster.certificates import Authority, Leaf

BIG = locate("s3://bucket/big")
KEYS = {"AccessKeyId": "lent-key", "SecretAccessKey": "lent-secret", "Expiration": "2099-01-01T00:00:00Z"}
RESPONSE, RESULT = "AssumeRoleWithWebIdentityResponse", "AssumeRoleWithWebIdentityResult"
ROLE = f"<{RESPONSE}><{RESULT}><Credentials>{{}}</Credentials></{RESULT}></{RESPONSE}>"


class Identities(http.server.ThreadingHTTPServer):
    """Lends keys as Amazon's STS does (IRSA), and as the agent of EKS Pod Identity does.

    Attributes:
        shown: the tokens it was shown.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        self.shown: list[str] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Identities

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        if token := (query | form).get("WebIdentityToken"):
            fields = {**KEYS, "SessionToken": "lent-token"}
            content = ROLE.format("".join(f"<{name}>{value}</{name}>" for name, value in fields.items()))
        else:
            token = [self.headers.get("Authorization", "")]
            content = json.dumps({**KEYS, "Token": "lent-token"})
        self.server.shown += token
        good = token == ["the-pod-s-token"]
        self.send_response(200 if good else 403)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())

    do_POST = do_GET  # noqa: N815 - the server's words

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(params=["IRSA", "EKS Pod Identity"])
def identities(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Identities]:
    """The client asks STS over TLS only, and the agent on the node without."""
    tls = None
    if request.param == "IRSA":
        pair = Authority(tmp_path / "authority").issue(Leaf("sts", "sts", hosts=("127.0.0.1",)))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
    with Identities(tls) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield server
        server.shutdown()


@pytest.fixture
def pod(store: ObjectStore, identities: Identities, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The environment of a pod whose service account has a role; returns the file with its token."""
    token = tmp_path / "token"
    token.write_text("the-pod-s-token")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    if identities.url.startswith("https"):
        variables = {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/flights-reader",
            "AWS_ENDPOINT_URL_STS": identities.url,
            "AWS_CA_BUNDLE": str(tmp_path / "authority" / "ca.crt"),
        }
    else:
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{identities.url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return token


def test_a_service_account_with_a_role_needs_no_keys(
    pod: Path, store: ObjectStore, identities: Identities
) -> None:
    store.objects["bucket/big"] = b"rows"
    assert BIG.read() == b"rows"
    assert {asked.key_id for asked in store.asked} == {"lent-key"}
    assert identities.shown == ["the-pod-s-token"]


def test_a_role_that_is_refused_is_told_without_its_token(
    pod: Path, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(client.PATIENCE_ENV, "1")
    pod.write_text("another-token")
    with pytest.raises(DataNotReadable) as told:
        BIG.read()
    assert "another-token" not in str(told.value)
    assert re.search("service account|pod's identity", str(told.value)), told.value
