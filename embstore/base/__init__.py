"""The shared vocabulary: what every other package may import, and which imports none of them.

errors            errors with their remedies
space, text       names of spaces, layers and revisions; items, their ids, words and columns
table, chart      results, how they are printed, and the chart that shows them
labels, latex     names of spaces in words; tables in LaTeX
arrays, summary   cosines, norms and sums of vectors
progress          tasks that report how far they are, also in notebooks
disk, supply      each operation on a file; bytes that come from afar when they are needed
atomic            files that are written whole or not at all
documents, checksum    JSON checked against the published schemas, with its own hash
keywords, messages    parameters of public methods, messages that name them; text that is safe in a terminal
sharding, installation    worker i of n; the extras and the folder of the cache
"""

__version__ = "0.2.0"
