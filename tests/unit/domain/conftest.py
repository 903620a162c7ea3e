from __future__ import annotations

from hypothesis import settings

# How long an example takes says nothing here: the machine may be busy with other tests.
settings.register_profile("domain", deadline=None, max_examples=60)
settings.load_profile("domain")
