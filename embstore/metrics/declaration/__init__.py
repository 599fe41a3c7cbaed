"""What a metric declares of itself.

spec         names, columns, parameters, formula, citation
validation   whether a declaration is complete
plugins      metrics of other packages
isolation    another package's code, run so that its errors end only its own metric
explain      a declaration as a text
"""
