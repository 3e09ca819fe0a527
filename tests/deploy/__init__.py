# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What an operator puts around the service: systemd, haproxy, OpenStack's own versions of libraries, two versions at once.

`python -m tests.deploy` unpacks what the tests need and the machine lacks.
"""
