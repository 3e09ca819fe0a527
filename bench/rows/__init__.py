# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What is measured: each row one kind of work, ours beside those that a reader knows, with what was promised of it.

    loads          whom a row asks, and how
    reads          shared.json, and polls
    publishes      durable writes
    behind_nova    calls for which nova is asked
"""
