from __future__ import annotations

import json

import pytest

from mlpools_operator.cluster import errors


def status(reason: str, message: str = "said") -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "message": message}).encode()


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (400, status("BadRequest"), errors.Invalid),
        (401, status("Unauthorized"), errors.Transient),
        (403, status("Forbidden"), errors.Refused),
        (404, status("NotFound"), errors.NotFound),
        (409, status("AlreadyExists"), errors.AlreadyExists),
        (409, status("Conflict"), errors.Conflict),
        (410, status("Expired"), errors.Expired),
        (422, status("Invalid"), errors.Invalid),
        (429, status("TooManyRequests"), errors.Transient),
        (500, status("InternalError"), errors.Transient),
        (503, b"<html>upstream is away</html>", errors.Transient),
        (400, status("BadRequest", 'admission webhook "x" denied the request: no'), errors.Refused),
        (500, status("InternalError", 'failed calling webhook, admission webhook "x"'), errors.Transient),
    ],
)
def test_each_answer_has_its_error(code: int, body: bytes, kind: type[errors.ClusterError]) -> None:
    error = errors.from_answer(code, body)
    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (status("Forbidden", "quota is spent"), "quota is spent"),
        (b"a proxy's page", "a proxy's page"),
        (b"[]", "[]"),
        (b"", "HTTP 403"),
        (b'{"message": ""}', "HTTP 403"),
    ],
)
def test_the_words_are_the_api_servers(body: bytes, said: str) -> None:
    assert str(errors.from_answer(403, body)) == said
