"""Gangs without Kubernetes: the supervisors and workers of pods, on this machine or over a Ray cluster."""
