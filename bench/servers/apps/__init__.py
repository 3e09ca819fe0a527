# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""The same work, written for each kind of server. Run in an environment of their own, but for `own` and `protocol`."""
