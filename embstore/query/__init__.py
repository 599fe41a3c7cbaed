"""Query a store: a metric over spaces and layers, the nearest items of a text, and maps of the layers.

metric.py          a metric over spaces and layers → a table
layer_pairs.py     a metric of two layers, also compared with shuffled items
differences.py     a metric's rows compared with those of another layer
request.py         a metric, its parameters, and the items that it is computed over: filters and lists of words
compute.py         a metric over the layers of one space, and over groups of its items
common.py          the items that all spaces of a request have; notes where their items differ
cache.py           the stored answers to metric requests
provenance.py      the columns and notes that record how each row was computed
grouping.py        groups of items by a column
layer_data.py      the vectors of a layer, stored or transformed, and their neighbours
inputs.py          inputs of a metric: pairs, lexicons, analogies, lists of words, a column of items, occurrences
missing.py         the texts missing from a space, and the command that embeds them

neighbours.py      the nearest items of texts, and the cosine of two texts → a table
lookup.py          what a space has for a query: a text or a vector; embed.py: a text encoded now
nearest.py         the nearest items by an index or a scan, also of words that are added and subtracted

layer_maps.py      the items of each layer in the plane → a table
map_methods.py     principal components of all layers together, and t-SNE by openTSNE

cite.py            references as BibTeX; references.bib: the publications
info.py            the spaces, columns and skipped texts of a store, and the views and macros of SQL
"""
