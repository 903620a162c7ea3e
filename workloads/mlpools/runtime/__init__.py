"""What a supervisor starts: reads the task, checks output and data, launches the framework."""
