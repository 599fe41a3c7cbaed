"""A process that builds stores when it is told to.

It is one of its own because embstore sets how the process keeps freed memory: the peers keep the
default. Each line of standard input is a folder, a source and options of a build, as JSON; the
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
