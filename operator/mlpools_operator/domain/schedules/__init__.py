"""Schedules: times, and the runs that are made at them."""
