"""Generates the CRDs, the chart's copies of them and the reference pages from the models of the API.

``python -m mlpools_operator.crdgen`` writes the files, with ``--check`` it only says which are out of date.
"""
