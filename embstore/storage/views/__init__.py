"""The tables that users' SQL sees.

sandbox    the views, and where SQL over them is executed
relation   its result
"""
