# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""``python -m peerdata`` is the command `peerdata`."""

import sys

from peerdata.cli import main

if __name__ == "__main__":
    sys.exit(main())
