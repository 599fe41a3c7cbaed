"""Give users' SQL the tables of a store as views.

sandbox    the views, and the DuckDB that executes SQL over them
macros     functions for users' SQL: vectors, cosines, neighbours, and the error of what is not stored
relation   the result of a statement
users_sql  statements and conditions over the views of an opened store
"""
