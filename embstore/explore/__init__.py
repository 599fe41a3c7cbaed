"""Explore a store in a browser: a local web server over Store and its page, and a report in one file.

serving.py    the server in a thread of its own: port, address, end
app.py        the routes, errors as JSON; what a request must have: token, Host, Origin, a small body
workers.py    processes that compute, and are killed when their request is cancelled
items.py      the methods of Store that are used; the items of a space: ids, texts, contexts
maps.py       the maps of a space: stored ones, or principal components; a map as bytes; the place of a further text
questions.py  what a store has, neighbours, metrics, SQL, and the pairs of a dataset that fit worst; colours of items
rendering.py  values as JSON, messages with the fields of the page, and the commands that give the same results
report.py     a report on a store as one HTML file
static/       the pages: HTML, CSS and ES modules
"""
