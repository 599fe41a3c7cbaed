"""Query a store: a metric over spaces and layers, and the nearest items of a text.

metric.py              a metric over spaces and layers → a table
request.py             a metric, its parameters, and the items that it is computed over; item_filter.py: their filter
compute.py             a metric over the layers of one space
provenance.py          the columns and notes that record how each row was computed; revision_columns.py: of revisions
grouping.py            groups of items by a column; group_layers.py: the vectors of a layer by group
inputs/                what a metric needs besides vectors
layer_data.py          the vectors of a layer, stored or transformed; no_vectors.py: stands in for missing ones
shared_neighbours.py   lists of neighbours that several metrics share
layer_pairs.py         layers against layers; layer_pairs_table.py: their table
cache.py               the stored answers to metric requests
notes.py               the notes of a result: reasons and counts

neighbours.py          the nearest items of texts → a table
lookup.py              the stored item that a text names in each space; embed.py: a text encoded now
nearest.py             the nearest items, by an index or by a scan
cosines.py             the cosine of two texts → a table
combination.py         … of words that are added and subtracted; given_vectors.py: vectors as queries

cite.py                references as BibTeX; references.bib: the publications
info.py                the spaces and skipped texts of a store; missing.py: texts missing from a space;
                       sql_views.py: the views and macros of SQL
"""
