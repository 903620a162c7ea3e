"""Types that several kinds share: names, times, places in a file system, conditions."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, WithJsonSchema

from mlpools_operator.api.v1alpha1.meta import Extension, Model, Rule, list_map

_DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
ENTRY_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

#: Name of another object.
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=_DNS_SUBDOMAIN)]
#: Name of an entry inside an object, such as a volume.
EntryName = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=ENTRY_NAME)]
#: Key of a ConfigMap or Secret.
KeyName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
#: Column of a table; any text that a file format takes.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=256)]
#: Short text of a status, such as a reason.
Word = Annotated[str, StringConstraints(max_length=256)]
#: Sentence of a status.
Sentence = Annotated[str, StringConstraints(max_length=2048)]
#: Container image with its tag or digest.
Image = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^\S+$")]

#: RFC 3339 with seconds, as the API server writes times.
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
#: A time that a person writes, with its zone.
WrittenTime = Annotated[
    str,
    StringConstraints(
        max_length=40, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[-+]\d\d:\d\d)$"
    ),
    Extension({"format": "date-time"}),
]
Count = Annotated[int, Field(ge=0)]


def is_entry_name(name: str) -> bool:
    """Whether it may be the name of an entry inside an object."""
    return len(name) <= 63 and re.search(ENTRY_NAME, name) is not None


def _place(stores: str, named: str) -> tuple[Rule, Rule]:
    """Return the rules of a URL: a place on a volume or in a store, and no credentials in it.

    Args:
        stores: pattern of the schemes; short, since the API server counts what a rule may cost.
        named: the same for a person.
    """
    place = f"^(/|file:///|({stores})://.)"
    # In abfs://container@account.… the part before the @ is the container.
    login = "^((s3|gs|az|https?)://[^/]*|abfss?://[^/]*:[^/]*)@"
    return (
        Rule(
            f"self.matches('{place}')",
            "must be an absolute path or a file:/// URL on a mounted volume, or a URL that begins with one "
            f"of {named}.",
            lambda url: re.search(place, url) is not None,
        ),
        Rule(
            f"!self.matches('{login}')",
            "must not hold a user or password, which everybody could read here: put credentials into a "
            "Secret and name it in envFrom.",
            lambda url: re.search(login, url) is None,
        ),
    )


#: A URL of a store, not of a volume.
IN_A_STORE = "^[a-z0-9]+://[^/]"
_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
#: Where data is read.
DataURL = Annotated[
    _Text, *_place("s3|gs|az|abfss?|https?", "s3://, gs://, az://, abfs://, http:// and https://")
]
#: Where files are written.
StorageURL = Annotated[_Text, *_place("s3|gs|az|abfss?", "s3://, gs://, az:// and abfs://")]


def is_in_a_store(url: str) -> bool:
    """Whether a URL means an object of a store, not a file on a volume."""
    return re.search(IN_A_STORE, url) is not None


class Condition(Model):
    """One aspect of the object's state, in the form of all Kubernetes conditions."""

    type: Annotated[
        str,
        StringConstraints(max_length=316, pattern=r"^([a-z0-9.-]+/)?[A-Za-z]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"),
    ]
    """The aspect, such as `Ready`."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """The `metadata.generation` that this was said of."""
    last_transition_time: Time
    """When `status` last changed."""
    reason: Annotated[
        str,
        StringConstraints(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ]
    """Why, in one word for programs."""
    message: Annotated[str, StringConstraints(max_length=32768)]
    """Why, in a sentence for people: what happened and what to do."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16), list_map("type")]


class SecretName(Model):
    """A Secret of the job's namespace."""

    name: ObjectName
    """Its name."""


class FabricCheck(Model):
    """What the check of the network before an attempt's work found."""

    attempt: Count
    """The attempt."""
    time: Time
    """When the operator learned of it."""
    verified: bool
    """Whether the attempt may work on it."""
    message: Annotated[str, StringConstraints(max_length=512)] = ""
    """What was measured."""


class LackedCapacity(Model):
    """Pods that did not all get a machine in time."""

    instance_family: Word = ""
    """The instance family that they asked for. Empty if the pool names none."""
    time: Time
    """When they were given up."""
    message: Annotated[str, StringConstraints(max_length=512)] = ""
    """What the scheduler said."""
