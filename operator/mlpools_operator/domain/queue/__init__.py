"""The queue of a pool: who may start, who waits and why."""
