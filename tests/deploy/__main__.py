# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""`python -m tests.deploy`: unpack what the tests need and this machine lacks."""

import sys

from tests.build import tell

from .build import build, root

sys.exit(tell(root(), build))
