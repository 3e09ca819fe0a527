# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""peerdata: instances of one project find each other through the metadata address."""

__version__ = "0.1.0"
