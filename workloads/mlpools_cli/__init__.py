"""The command ``mlpools``: what a person does with a manifest without a cluster.

It stands above both programs: the operator's pure half says what a manifest means, and the workloads do it.
"""
