"""Writing results of many rows: all of one or nothing of it, whatever dies and whenever."""
