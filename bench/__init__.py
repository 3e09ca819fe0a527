# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
How fast the service is, beside nginx, Redis, etcd and nova, in one run on one pinned core: `python -m bench`.

What a measurement needs:

    machine        which core serves and which asks, and whether others used them
    tools          wrk, nginx, etcd and Redis, fetched where they are missing
    stage          processes, pinned, with what they cost
    exchange       requests as bytes, and answers checked
    crowd          instances, what they publish, how they ask
    stored         stores with a million instances
    peers          beside whom we are measured
    service        peerdata itself
    bed            all of these started, and the crowd has published
    load           who asks: wrk, guests of our own, readers for Redis
    rounds         turn by turn, medians, ratios
    goals          what was promised, and whether it was kept

What is measured, each with its part of the page:

    rows           reads and publishes, side by side
    front          the service beside nginx and haproxy as proxies, before one fast upstream
    rack           hundreds of instances boot at once in front of a busy nova, straight and through the service
    cloud_init     boots with cloud-init's own reader against a real nova that is slow
    flood          what one project's writes cost another
    prefix         what a filtered read costs, and costs others
    storm          a thousand instances that start at once
    growth         what one call costs by the peers and the projects that there are
    memory         what a worker and a key take
    databases      PostgreSQL and Galera beside SQLite

And the page: `plan` has all parts by name, `part` is one of them, `report` prints them, with `markdown` and `plot`.
"""
