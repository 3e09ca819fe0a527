# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
HTTP servers side by side: ready-made bytes after one HMAC, which is all that a hot read has to do.

    apps           the same work for each server         signed     that work: the bodies, and the signature
    contestants    how each one is started               compare    the rounds and the page
"""
