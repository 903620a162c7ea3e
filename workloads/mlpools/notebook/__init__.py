"""What runs inside a notebook's own server."""
