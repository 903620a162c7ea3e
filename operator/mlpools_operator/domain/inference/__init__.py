"""The kind BatchInference: what tells it apart from other jobs."""
