"""Arithmetic shared by several metrics.

linear_algebra   BLAS in one thread, eigenvalues, unit vectors, mean and covariance
layer_pairs      bilinear forms of pairs of layers: from sums of products, or Gram matrices if these cost less
groups           sums over the vectors of each word or sentence
neighbours       nearest neighbours of all items, equally near and shared ones, nearest points in the plane, clusters
statistics       Spearman and Pearson with intervals, permutation tests, folds; similarities against shuffled items
differences      whether scores differ between layers: paired resamples, tests of correlations, Holm
"""
