"""A process that builds stores of a source with a model when it is told to: benchmark_builder.py SOURCE MODEL OPTIONS.

It is one of its own because embstore sets how the process keeps freed memory: the peers keep the default.
The options of the build are JSON. A folder comes in on each line of standard input; the seconds of its build go out.
"""

import gc
import json
import sys

from embstore import Store

if __name__ == "__main__":
    gc.set_threshold(200_000)  # as the command line does
    for line in sys.stdin:
        report = Store(line.rstrip("\n")).build(sys.argv[1], models=sys.argv[2], **json.loads(sys.argv[3]))
        print(report.encode_seconds, flush=True)
