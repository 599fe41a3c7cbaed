"""A process that builds stores of a source with a model when it is told to: benchmark_builder.py SOURCE MODEL.

It is one of its own because embstore sets how the process keeps freed memory: the peers keep the default.
A folder comes in on each line of standard input, and the seconds of its build go out.
"""

import gc
import sys

from embstore import Store

if __name__ == "__main__":
    gc.set_threshold(200_000)  # as the command line does
    for line in sys.stdin:
        report = Store(line.rstrip("\n")).build(sys.argv[1], models=sys.argv[2])
        print(report.encode_seconds, flush=True)
