"""Build a store; :mod:`embstore.build.pipeline` runs the steps in order.

pipeline.py   the whole pipeline on one page: read → plan → encode → write → index
texts.py      read the sources and stage their items
kept.py       the values of columns that are kept with the items; token_counts.py: the numbers of tokens
job.py        options, checkpoints, and the missing items of each space
poolings.py   the poolings of a checkpoint: those requested, or a default
plan.py       the spaces to build and their cards; writes nothing
run.py        the work of one checkpoint: encode, write, index
ranges.py     the unit of work: a range of item ids, in this process or in a worker
skips.py      the texts that get no vector
report.py     the result of a build, and its progress
cluster_runs.py  the work of all checkpoints on a cluster, side by side
on_ray.py     workers on a Ray cluster
range_queue.py  the ranges that they are given, and given again where one dies or stops
worker.py     a worker: encodes ranges and commits nothing
estimate.py   the cost of a build: ``--dry-run``
stored_datasets.py  rows of datasets without a checkpoint, for imported vectors
"""
