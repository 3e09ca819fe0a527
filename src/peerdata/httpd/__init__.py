# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
An HTTP/1.1 server: listeners, connections, requests and answers. It knows nothing of what they are about.

Of the rest it uses `errors`, for what it rejects itself, and `metrics`, where it counts.
"""
