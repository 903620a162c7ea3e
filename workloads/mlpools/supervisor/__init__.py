"""PID 1 of every job pod: starts the workers, watches them, says how they are and how they ended.

Standard library only and small, and apart from the workers' processes: a segmentation fault, an
out-of-memory kill or a held GIL in a worker never silences it.
"""
