"""Measurements, one command each (`make bench-…`); results in `bench/results/NAME.json`."""
