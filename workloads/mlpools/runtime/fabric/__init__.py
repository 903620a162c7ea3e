"""The network between the ranks of a gang, measured before they work.

A gang is as fast as its slowest link, and a link that fell back to something slower is seen nowhere: the job
just takes ten times as long. So each rank sends to the next one and receives from the one before, all at
the same time and none waiting for another, which tells every link by itself. GPUs do it through NCCL, which
is what training will use; without them it goes over TCP. Every rank gets all results and decides the same.
"""
