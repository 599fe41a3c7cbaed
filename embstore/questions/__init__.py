"""What a question to a store is made of, which :mod:`embstore.query` and :mod:`embstore.neighbours` put together.

What is asked:

    selection.py    spaces and layers by what a user names
    question.py     a metric, and the items that it is asked of
    inputs.py       what a metric needs beside vectors: case.py, evaluation.py (datasets), word_sets.py, contexts.py
    multiset.py     items that count more than once; padding.py: draws that may hit the padding
    lookup.py       what a text means in each space; embed.py: a text encoded now

What answers:

    layerdata.py    the vectors of a layer, stored or transformed; no_vectors.py: where there are none
    hits.py         the nearest items, by an index or by a scan
    compare.py      layers against layers; matrix.py: their table
    answers.py      the answers that the store has already

What is said beside:

    coverage.py     what a space lacks; missing.py: all of it
    notes.py        what a reader must know beside the numbers
"""
