# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""Beside whom we are measured: each starts on the stage, is filled with what ours holds, and knows how it is asked."""
