"""Training: what a rank of a gang does between its data and its model."""
