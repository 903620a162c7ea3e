"""A job of any kind: from its first place in the queue to its end.

``kind`` says what one kind of job is told apart by; all other modules hold for each of them.
"""
