# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
How fast the service is, beside nginx and nova, in one run on one pinned core: `python -m bench`.

    machine    which core serves and which asks, and whether others used them
    tools      wrk and nginx, fetched where they are missing
    stage      processes, pinned, with what they cost
    exchange   requests as bytes, and answers checked
    crowd      instances, what they publish, how they ask
    peers      beside whom we are measured: nginx, nova
    service    peerdata itself
    bed        all of these started, and the crowd has published
    load       wrk for what can be asked again, guests of our own for what cannot
    rounds     turn by turn, medians, ratios
    rows       what is measured
    growth     what one call costs by the size of the project
    report     the page

`bench.servers` compares HTTP servers: `python -m bench servers`.
"""
