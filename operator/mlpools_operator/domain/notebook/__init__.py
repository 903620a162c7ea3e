"""The kind NotebookRuntime: a notebook on one node of a pool, which stops when nobody uses it."""
