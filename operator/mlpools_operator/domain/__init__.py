"""Pure decisions, one policy a file: the same input gives the same plan, and nothing here does I/O.

No client, no framework, no clock, no logging, no randomness: time and identity are arguments. What
is observed comes in as the frozen values of ``observed``, what is to be done goes out as a ``plan.Plan``.
"""
