"""``partitionBy``: all rows of one value of a column go to one call of the model.

Two stages, over the same hand-out of shards. First each shard of the input is sorted into buckets by a hash
of the column (``scatter``), as one file below ``_shuffle/`` (``shuffle``). When all of them are there, each
bucket is a shard: its rows are brought together by key, on disk if there are many (``gather``), the model is
called once a key (``calls``, ``engine``), and what it answers is committed, as several files if it is much
(``place``, ``writing``). Rank 0 leads from one stage to the other (``stages``).

What the first stage writes is the same whoever writes it, so of two copies of a shard either will do, and a
new attempt goes on with those that are there.
"""
