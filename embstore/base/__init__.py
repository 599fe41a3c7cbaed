"""The shared vocabulary: what every other package may import, and which imports none of them.

errors, escape      errors with their remedies; text that is safe in a terminal and a page
space, revisions    names of spaces, layers and checkpoints
text, words, column_names    items, their ids and their columns
table, chart, latex    results, and how they are printed
arrays, summary     cosines, norms and sums of vectors
progress, notebook  tasks that report how far they are
disk/, atomic       each operation on a file; files that are written whole or not at all
documents, checksum JSON checked against the published schemas, with its own hash
keywords, wording, argument_types    parameters of public methods, and messages that name them
sharding, installation, user_cache    worker i of n; extras; the cache's folder
"""

__version__ = "0.2.0"
