"""Estimators: a distributed training of trees as one call from Python.

``rows`` turns what a caller has into connectors, ``handing`` lays them down for the ranks, ``gangs`` runs
these on this machine or over a Ray cluster, ``predicting`` uses the model, and
``estimator`` is what a caller sees.
"""
