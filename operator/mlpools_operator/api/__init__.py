"""Versions of the API, one package each, whose models are the source of CRDs, checks and defaults."""
