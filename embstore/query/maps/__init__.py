"""Map the items of each layer into the plane, so that maps of neighbouring layers can be compared.

pipeline.py   the maps of spaces → a table; one map → ids and positions
request.py    the layers of a space, the method and the items
methods.py    the two methods, by one interface
pca.py        principal components of all layers together: instant
tsne.py       t-SNE by openTSNE, each layer starting from the one below; alone imports openTSNE
kept.py       the share of true neighbours that a map keeps
listing.py    the stored maps
"""
