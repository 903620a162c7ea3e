"""The kind ComputePool: its status and its warm nodes."""
