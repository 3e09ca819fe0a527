# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The whole chain from an instance to nova, with real peers: see `conftest.py` for what is started."""
