"""The mlpools operator: watches four kinds, decides, applies ordinary Kubernetes objects."""
