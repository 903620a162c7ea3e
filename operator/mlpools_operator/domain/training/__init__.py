"""The kind TrainingJob: what tells it apart from other jobs."""
