"""Query a store: a metric over spaces and layers, the nearest items of a text, and maps of the
layers.
"""
