"""Measure how the neighbourhoods of items change over layers, or between two spaces, in the original space.

pipeline.py   the drift of words, or of the items that change most and least → a table; stored answers
measure.py    what is measured: the items, the layers and their pairs; overlap and turnover of neighbourhoods
"""
