"""Explore a store in a browser: a local web server over Store and its page, and a report in one file.

serving.py    the server in a thread of its own: port, address, end
app.py        the routes, and errors as JSON
guard.py      what a request must have: token, Host, Origin, a small body; the headers of each response
workers.py    processes that compute, and are killed when their request is cancelled; worker.py: such a process
reading.py    the methods of Store that are used
overview.py   spaces, layers, datasets and metrics of a store, as JSON
items.py      the items of a space: ids, texts, contexts; suggestions for what is being typed
maps.py       the maps of a space: stored ones, or principal components; packing.py: a map as bytes
placing.py    the place of a text that is not on a map
colours.py    values to colour the items by
questions.py  neighbours, metrics and SQL, as JSON; residuals.py: the pairs of a dataset that fit worst
commands.py   the command and the line of Python that give the same result
jsons.py      values as JSON that JavaScript reads without loss
report.py     a report on a store as one HTML file; report_page.py: its HTML
static/       the pages: HTML, CSS and ES modules
"""
