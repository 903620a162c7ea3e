"""The kinds that commands are for, by name."""

POOL, NOTEBOOK = "ComputePool", "NotebookRuntime"
#: What runs to an end.
JOBS = ("TrainingJob", "BatchInference")
#: What lies in a namespace.
WORK = (*JOBS, NOTEBOOK)
ALL = (*WORK, POOL)
