"""What `make run` does: a cluster, the operator, real data, a trained model, and what a person sees of it."""
