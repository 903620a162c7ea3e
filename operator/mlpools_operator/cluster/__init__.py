"""The API server: how it is reached, what is asked of it, and what can go wrong.

The only package that imports `kubernetes`. Everything else sees plain JSON and the errors of ``errors``.
"""
