"""``kubectl mlpools``: what a person does with pools, jobs and notebooks of a cluster.

It talks to the API server as that person, with their kubeconfig and their rights, and to nothing else of
mlpools: whatever it shows or changes could be read and written with kubectl.
"""
