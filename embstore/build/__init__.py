"""Build a store; :mod:`embstore.build.pipeline` runs the steps in order.

pipeline.py   the whole pipeline on one page: read → plan → encode → write → index; the unit of each source
texts.py      read the sources and stage their items, and the values that are kept with them
job.py        options, checkpoints, and the plan: the spaces to build, their cards and missing items; writes nothing
run.py        the work of one checkpoint, here or on a cluster: encode, write, index; skipped texts, token counts
ranges.py     the unit of work: a range of item ids, encoded in this process or by a worker
report.py     the result of a build, and its progress
on_ray.py     the workers of a Ray cluster, and the ranges that they are given, again where one dies
"""
