"""Build a store; :mod:`embstore.build.pipeline` runs the steps in order.

pipeline.py   the whole pipeline on one page: read → plan → encode → write → index; its cost: ``--dry-run``
texts.py      read the sources and stage their items, and the values that are kept with them
job.py        options, checkpoints, and the missing items of each space
plan.py       the spaces to build, their poolings and cards; writes nothing
run.py        the work of one checkpoint: encode, write, index; skipped texts, numbers of tokens
ranges.py     the unit of work: a range of item ids, in this process or in a worker
report.py     the result of a build, and its progress
cluster_runs.py  the work of all checkpoints on a cluster, side by side
on_ray.py     workers on a Ray cluster
range_queue.py  the ranges that they are given, and given again where one dies or stops
worker.py     a worker: encodes ranges and commits nothing
"""
