"""Nothing secret comes through, in whatever form it stands."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlpools_kubectl import redaction
from mlpools_kubectl.redaction import GONE, Redactor

PLANTED = "h0rse? battery/~staple>>="  # with the letters in which two forms of base64 differ, and padding


def forms(value: str) -> list[str]:
    encoded = base64.b64encode(value.encode()).decode()
    return [value, encoded, encoded.rstrip("="), quote(value, safe=""), json.dumps(value)]


@pytest.mark.parametrize("form", forms(PLANTED))
def test_a_known_value_goes_in_each_form(form: str) -> None:
    said = Redactor([PLANTED]).text(f"it says {form} here")
    assert said in (f"it says {GONE} here", f'it says "{GONE}" here')


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_value_never_comes_through(value: str, before: str, after: str) -> None:
    redactor = Redactor([value])
    if len(value.strip()) >= 4 and value.strip() not in GONE:
        shown = redactor.text(before + value + after).replace(GONE, "\0")
        assert value.strip() not in shown


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_an_object_never_shows_a_known_value(node: object) -> None:
    planted = {"args": ["run", PLANTED], "here": node, "spec": {"note": f"a {PLANTED} b"}}
    shown = yaml.safe_dump(Redactor([PLANTED]).tree(planted), allow_unicode=True)
    assert PLANTED not in shown


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("postgresql://ml:p%40ss-word@db/flights", "p@ss-word"),
        ('{"type": "account", "inner": [{"private": "abcdefgh"}]}', "abcdefgh"),
        ("first line here\nsecond line here", "second line here"),
    ],
)
def test_parts_of_a_value_go_too(value: str, part: str) -> None:
    assert part not in Redactor([value]).known(f"connecting with {part}, now")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=abc123, next", f"password={GONE}, next"),
        ('{"api_key": "abc123", "n": 1}', f'{{"api_key": "{GONE}", "n": 1}}'),
        ("HF_TOKEN: hf_abc", f"HF_TOKEN: {GONE}"),
        ("AWS_SECRET_ACCESS_KEY=xyz", f"AWS_SECRET_ACCESS_KEY={GONE}"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {GONE}"),
        ("GET https://me:pw@host/x?sig=abc&y=1", f"GET https://{GONE}@host/x?sig={GONE}&y=1"),
        ("key AKIAABCDEFGHIJKLMNOP here", f"key {GONE} here"),
        ("eyJhbGciOiJSUzI1.eyJpc3Mi.c2ln and on", f"{GONE} and on"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----\nrest", f"{GONE}\nrest"),
        ("round 3 of 100, eval-rmse 17.9", "round 3 of 100, eval-rmse 17.9"),
        ("tokens: it has read 5", f"tokens: {GONE} has read 5".replace(GONE, "it")),
    ],
)
def test_what_looks_like_a_credential_goes(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown


def test_of_an_object_stay_names_and_not_values() -> None:
    pod = {
        "metadata": {
            "managedFields": [1],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
        },
        "spec": {
            "tokenSecret": "nb-alice-token",
            "env": [
                {"name": "DEPTH", "value": "8"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
            "args": ["--api-token", "abc", "--depth", "3", "--password=abc"],
            "hyperParams": {"wandb_api_key": "abc", "depth": "3"},
        },
    }
    assert Redactor().tree(pod) == {
        "metadata": {"annotations": {"a": "b"}},
        "spec": {
            "tokenSecret": "nb-alice-token",
            "env": [{"name": "DEPTH", "value": GONE}, pod["spec"]["env"][1]],  # type: ignore[index]
            "args": ["--api-token", GONE, "--depth", "3", f"--password={GONE}"],
            "hyperParams": {"wandb_api_key": GONE, "depth": "3"},
        },
    }


def test_secrets_are_found_wherever_an_object_names_them() -> None:
    found = redaction.named(
        {
            "env": [{"valueFrom": {"secretKeyRef": {"name": "a", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "b"}}],
            "volumes": [
                {"secret": {"secretName": "c"}},
                {"projected": {"sources": [{"secret": {"name": "d"}}]}},
            ],
            "imagePullSecrets": [{"name": "e"}],
            "data": {"train": {"sql": {"connectionSecret": "f"}}},
            "code": {"git": {"secret": "g"}},
            "status": {"tokenSecret": "h"},
            "packages": {"credentialsSecret": "i"},
        }
    )
    assert found - {""} == set("abcdefghi")


def test_variables_that_are_credentials_by_name_are_known_everywhere() -> None:
    job = {"spec": {"env": [{"name": "DB_PASSWORD", "value": "abc-def"}, {"name": "DEPTH", "value": "8"}]}}
    assert redaction.literals([job]) == {"abc-def"}
