# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`wait_until_ready.py URL`: exit with 0 once URL answers 200, with 1 after half a minute."""

import sys
import time
import urllib.error
import urllib.request

WITHIN_S = 30.0

url = sys.argv[1]
deadline = time.monotonic() + WITHIN_S
while time.monotonic() < deadline:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - the URL is the Makefile's own
            sys.exit(0)
    except (urllib.error.URLError, OSError):
        time.sleep(0.2)
sys.exit(1)
