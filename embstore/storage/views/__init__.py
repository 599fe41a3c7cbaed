"""Give users' SQL the tables of a store as views.

users_sql  from a statement or a condition to its rows: the views, and the DuckDB that executes SQL over them
fence      the check of a statement; macros for it: vectors, cosines, neighbours, and the error of what is not stored
"""
