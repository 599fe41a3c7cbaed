"""Measure how the neighbourhoods of items change over layers, or between two spaces, in the original space.

pipeline.py   the drift of words, or of the items that change most and least → a table; stored answers
request.py    what is measured: the items, the layers and their pairs
measure.py    overlap and turnover of neighbourhoods
"""
