"""kopf at the edge: it watches, and what it sees goes into the feed. Nothing is decided or written here."""
