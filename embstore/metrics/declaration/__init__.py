"""The declaration of metrics.

spec         the declaration: names, columns, parameters, formula, citation
parameters   parameters and columns that several metrics share
validation   check that a declaration is complete
plugins      metrics declared by other packages
isolation    contain the errors of other packages' code
explain      the declaration as text and as JSON
"""
