"""Measure how the neighbourhoods of items change over layers, or between two spaces, in the original space.

pipeline.py   the drift of words, or of the items that change most and least → a table
request.py    what is measured, and for which items
words.py      the stored items of words; sides.py: the layers and items to compare
measure.py    the drift of words, or the items that change most and least
changes.py    overlap and turnover of neighbourhoods
stored.py     stored answers
rows.py       rows and notes of the table
"""
