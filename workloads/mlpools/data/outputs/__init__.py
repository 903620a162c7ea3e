"""Data sets of other libraries made of a connector's rows: one module a library, which imports it."""
