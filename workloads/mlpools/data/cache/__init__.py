"""What was fetched or decoded once and need not be again: files within a budget, shared by processes."""
