"""Databases: rows of a query, read once and under one snapshot into Parquet parts for everything else."""
