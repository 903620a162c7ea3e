"""A pool's nodes: what they are, whether it is awake, and who holds them."""
