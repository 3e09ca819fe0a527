# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Clusters that boot for real: processes that ask over HTTP, servers on one database, and kill -9 for all of them.

`guest.py` is what runs in an instance, and writes down what it is told before it obeys. `boots.py` draws from a
seed what each cluster is and what befalls it, and boots many at the same time; `cloud.py` has the servers and the
instances that exist. Afterwards `checker.py` reads what was written (`history.py`) and says which promise was broken.

`python -m tests.boots --boots 1000` does it for long and writes docs/boots.md.
"""
