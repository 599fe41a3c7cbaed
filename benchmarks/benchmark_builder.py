"""A process that builds stores when it is told to.

It is one of its own so that its threads, memory and collector settings are not those of the peers.
Each line of standard input is a folder, a source and options of a build, as JSON; the
seconds of the build go out.
"""

import gc
import json
import sys

from embstore import Store

if __name__ == "__main__":
    gc.set_threshold(200_000)  # as the command line does
    for line in sys.stdin:
        folder, source, options = json.loads(line)
        report = Store(folder).build(source, **options)
        print(report.encode_seconds, flush=True)
