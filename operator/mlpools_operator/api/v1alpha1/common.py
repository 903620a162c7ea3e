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


#: Where files are read or written.
StorageURL = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024),
    Rule(
        "self.startsWith('/') || self.startsWith('file:///')",
        "must be an absolute path or a file:/// URL on a mounted volume; other stores are not supported yet",
        lambda url: url.startswith(("/", "file:///")),
    ),
]


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
