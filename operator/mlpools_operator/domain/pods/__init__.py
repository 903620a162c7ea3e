"""The pods of an attempt, built whole from the job, its pool and the operator's settings."""
