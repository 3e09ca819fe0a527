# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
An instance that joins a cluster with the library: publish an address, do what the verdict asks for, and confirm.

Try it with `make serve` and

    PEERDATA_URL=http://127.0.0.1:8775 PEERDATA_SOURCE=127.0.0.11 python examples/library.py
"""

import sys

from peerdata.guest import Guest, GuestError, NotReached


def main() -> int:
    guest = Guest(progress=lambda text: print(text, file=sys.stderr))
    try:
        address = guest.addresses()[0]
        verdict = guest.join("example", 3, meta={"example_addr": address}, timeout_s=60)
        print(f"{verdict.verdict}: {verdict.why}")
        if verdict.verdict == "bootstrap":
            print("starting the cluster ...")
            # Only once it runs:
            guest.formed("example", verdict.term)
        elif verdict.verdict == "join":
            print("joining", ", ".join(peer.meta["example_addr"] for peer in verdict.members))
        peers = guest.peers()
    except NotReached as error:
        old = guest.last_good()
        known = f"the last good list has {len(old.peers)} peers" if old else "no list was kept"
        print(f"{error.message}; {known}", file=sys.stderr)
        return error.exit_code
    except GuestError as error:
        print(error.message, file=sys.stderr)
        return error.exit_code
    for peer in peers.others:
        print(peer.uuid, dict(peer.meta))
    return 0


if __name__ == "__main__":
    sys.exit(main())
