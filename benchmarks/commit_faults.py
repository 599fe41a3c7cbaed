"""Attack the commits of a store at a URL: a network that fails, rival writers; count what is lost
and what is twice.

    python benchmarks/commit_faults.py [--server moto|seaweed] [--commits 1000] [--rounds 50]
    [--seed 0]

Through a proxy that answers 503, loses requests and replies, and cuts uploads and replies, a writer
commits again and again. Then twelve writers commit at the same base at once, round after round. See
tests/support/commit_attack.py.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from commit_attack import commit_through_faults, rivals
from fault_proxy import FAULTS
from object_servers import moto_server, new_bucket, seaweedfs


def main() -> None:
    """Run the attacks, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--server", choices=["moto", "seaweed"], default="moto")
    parser.add_argument("--commits", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each request")
    parser.add_argument(
        "--rate", type=float, default=0.02, help="share of the requests that each fault befalls"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rates = dict.fromkeys(FAULTS, options.rate)
    with ExitStack() as stack:
        endpoint = stack.enter_context(
            seaweedfs() if options.server == "seaweed" else moto_server()
        )
        print(
            commit_through_faults(
                new_bucket(endpoint), options.commits, rates, options.seed, options.latency
            )
        )
        print(rivals(new_bucket(endpoint), options.rounds, rates, options.seed))


if __name__ == "__main__":
    main()
