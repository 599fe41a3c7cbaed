"""Arithmetic that several metrics share.

moments        means and covariances
affine         affine maps of vectors; fitting: fit them
pair_sums      sums over pairs of layers, block by block
gram           the same from Gram matrices, where they cost less
directions     unit vectors
groups         the vectors of each word
ties           equal distances
correlation    Spearman and Pearson; bootstrap: their intervals
permutation    permutation tests
layer_grid     layers against layers
blas_threads   one thread for small products
"""
