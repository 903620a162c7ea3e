"""PID 1 of a notebook's pod: starts its program, and knows for how long nobody and nothing has used it.

It reads its own container and nothing else: processes, terminals, connections, GPUs, and Jupyter's own
account of its kernels. An open tab, its polling, the probes and Ray's daemons are no use; ``watch`` says what
is.
"""
