"""Explore a store in a browser: a local web server over Store and its page, and a report in one
file.
"""
