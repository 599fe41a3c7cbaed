"""The steps of a build, which :mod:`embstore.build.pipeline` puts together.

pipeline.py   THE page: read → plan → encode → write → index
texts.py      read the sources, and stage what they hold
job.py        what a build is made of: options, checkpoints, and what their spaces lack
plan.py       which spaces, with which cards; pure
run.py        one checkpoint: encode, write, index
windows.py    the items that are in the model or on their way to it
skips.py      the texts that get no vector
report.py     the result of a build, and the measure of its progress
estimate.py   what it would do: ``--dry-run``
"""
