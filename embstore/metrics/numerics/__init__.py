"""Arithmetic shared by several metrics.

moments        mean and covariance
affine         affine maps of vectors; fitting: fit them
pair_sums      sums over items for pairs of layers, block by block
gram           the same bilinear forms from Gram matrices, if these cost less
directions     unit vectors of lists of words
groups         sums over the vectors of each word or sentence
item_values    a value of each item: norm, hubness, self-similarity, cosine to the mean
ties           detection of equal distances
neighbour_lists   elements that lists of neighbours share; plane: nearest points in the plane
correlation    Spearman and Pearson; bootstrap: their intervals
permutation    permutation tests
analogy_search the item that best completes each analogy
layer_grid     comparisons of layers with layers; clusters: k-means of directions
blas_threads   single-threaded BLAS for small products
"""
