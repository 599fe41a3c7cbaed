"""Load the inputs of a metric other than the vectors of a layer.

dispatch.py        the inputs of a metric, by what it declares
case.py            one set of inputs: a metric may be computed for several datasets
datasets.py        pairs of texts with scores, and lexicons
analogies.py       questions of four words
occurrences.py     the occurrences of each word
word_sets.py       lists of words
word_files.py      reads such lists: files, words with commas between them, sequences
columns.py         a column of items: stored, built-in, or their text
missing_texts.py   texts missing from a space, and the command that embeds them
"""
