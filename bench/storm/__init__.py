# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The boot storm: the instances of one project start within seconds, publish, and follow until each knows all of them.

    connection     HTTP/1.1 of one guest, with its bytes counted
    guests         what one instance does, with ours and with etcd
    storm          all of them at once, what was seen, and how the page says it
"""
