"""A real Kubernetes on one Linux machine: no Docker, no registry, nothing left behind."""
