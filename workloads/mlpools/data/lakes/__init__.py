"""Tables of files with a log of their versions: one version becomes a plan of its Parquet files."""
