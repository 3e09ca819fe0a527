# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The promises under faults: histories of many clients of several servers, recorded while things break, and checked.

`clients.py` asks and records (`history.py`), `faults.py` breaks and mends the
servers and databases of a bed (`beds.py`), and `checker.py` says whether what
was answered can be true of one object that keeps the promises. `storm.py` puts
them together for one engine.

`python -m tests.torture run` does it for long and writes docs/torture.md;
`python -m tests.torture check FILE` checks a history that was kept.
"""
