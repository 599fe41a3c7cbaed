"""Measure how the neighbourhoods of items change over layers, or between two spaces, in the
original space.
"""
