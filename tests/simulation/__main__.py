# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
`python -m tests.simulation`: boot clusters in simulation, by the rules of the service, and say what was seen.

Exit status: 0 nothing was violated, 1 something was; the seed that is printed repeats it.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .world import Tally, boot


def main() -> int:
    """Parse, boot, tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--boots", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first; each further one's is one more (%(default)s)"
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    seeds = range(arguments.seed, arguments.seed + arguments.boots)
    chunks = [seeds[start : start + 500] for start in range(0, len(seeds), 500)]
    total = Tally()
    with ProcessPoolExecutor() as processes:
        for tally in processes.map(partial(boot, keep_going=True), chunks):
            total += tally
    print(total.told())
    print(f"in {time.monotonic() - began:.0f} s")
    return 1 if total.violations else 0


if __name__ == "__main__":
    sys.exit(main())
