"""Which credentials a store's client uses, by name: for messages, and never their values; pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_GOOGLE_LOGIN = Path("~/.config/gcloud/application_default_credentials.json")

#: For each kind of store, in the order in which its client looks: the variables that have to be set, and
#: what they mean.
_SOURCES: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "s3": (
        (("AWS_SKIP_SIGNATURE",), "no credentials, as AWS_SKIP_SIGNATURE says"),
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "the key in AWS_ACCESS_KEY_ID"),
        (
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
            "the service account's role in AWS_ROLE_ARN (web identity)",
        ),
        (("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",), "the container's role (ECS)"),
        (("AWS_CONTAINER_CREDENTIALS_FULL_URI",), "the pod's identity (EKS)"),
    ),
    "gs": (
        (("GOOGLE_SKIP_SIGNATURE",), "no credentials, as GOOGLE_SKIP_SIGNATURE says"),
        (("GOOGLE_SERVICE_ACCOUNT_KEY",), "the key in GOOGLE_SERVICE_ACCOUNT_KEY"),
        (("GOOGLE_SERVICE_ACCOUNT",), "the key file in GOOGLE_SERVICE_ACCOUNT"),
        (("GOOGLE_SERVICE_ACCOUNT_PATH",), "the key file in GOOGLE_SERVICE_ACCOUNT_PATH"),
        (("GOOGLE_APPLICATION_CREDENTIALS",), "the file in GOOGLE_APPLICATION_CREDENTIALS"),
    ),
    "az": (
        (("AZURE_SKIP_SIGNATURE",), "no credentials, as AZURE_SKIP_SIGNATURE says"),
        (("AZURE_STORAGE_TOKEN",), "the token in AZURE_STORAGE_TOKEN"),
        (("AZURE_STORAGE_ACCOUNT_KEY",), "the key in AZURE_STORAGE_ACCOUNT_KEY"),
        (("AZURE_STORAGE_ACCESS_KEY",), "the key in AZURE_STORAGE_ACCESS_KEY"),
        (
            ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID", "AZURE_TENANT_ID"),
            "the service account's identity in AZURE_CLIENT_ID (workload identity)",
        ),
        (("AZURE_CLIENT_SECRET", "AZURE_CLIENT_ID"), "the application in AZURE_CLIENT_ID"),
        (("AZURE_STORAGE_SAS_KEY",), "the shared access signature in AZURE_STORAGE_SAS_KEY"),
        (("AZURE_STORAGE_SAS_TOKEN",), "the shared access signature in AZURE_STORAGE_SAS_TOKEN"),
    ),
}
_LAST = {
    "s3": "the machine's instance role (no AWS_ variable names any)",
    "gs": "the workload's identity (no GOOGLE_ variable names any)",
    "az": "the machine's managed identity (no AZURE_ variable names any)",
    "http": "no credentials",
}
_HOW = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (envFrom a Secret), or use a service account with "
    "a role; AWS_SKIP_SIGNATURE=true for a public bucket.",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS to a mounted key file, or use a service account with workload "
    "identity; GOOGLE_SKIP_SIGNATURE=true for a public bucket.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY (envFrom a Secret), or use a "
    "service account with workload identity; AZURE_SKIP_SIGNATURE=true for a public container.",
    "http": "Only public files can be read by http.",
}


def source(kind: str, environ: Mapping[str, str]) -> str:
    """Return which credentials are used for a kind of store, as words for a message."""
    for names, words in _SOURCES.get(kind, ()):
        if all(environ.get(name) for name in names):
            return words
    if kind == "gs" and _GOOGLE_LOGIN.expanduser().exists():
        return "the login of gcloud"
    return _LAST[kind]


def how_to_give(kind: str) -> str:
    """Return a sentence about how a job gets at credentials for this kind of store."""
    return _HOW[kind]
