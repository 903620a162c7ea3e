"""The kind TrainingJob: from its first place in the queue to its end."""
