# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What one instance does from its start until it knows all: with peerdata it polls as it is told, with etcd it watches.

Each returns when what it was sent is what all of the project have published, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import random
import re

from bench.crowd import PEER_DATA, Instance, Project
from bench.exchange import AnswerWrong, Reply, holds, request
from bench.peers import etcd
from bench.storm.connection import Connection, Traffic

# docs/protocol.md, "Statuses and errors": repeat, with jitter.
_REPEATED = (502, 503, 504)


async def follow_peerdata(one: Instance, project: Project, port: int, traffic: Traffic, chance: random.Random) -> None:
    """Publish; then poll, each time when the answer before says."""
    wanted = {peer.uuid: dict(peer.entries) for peer in project.instances}
    known: set[str] = set()
    with await Connection.open(port, traffic) as connection:

        async def ask(asked: bytes) -> Reply:
            while True:
                reply = await connection.ask(asked)
                if reply.status not in _REPEATED:
                    holds(b"")(reply)
                    return reply
                await asyncio.sleep(chance.uniform(1, 3))

        await ask(one.publishes(one.forwarded()))
        target = PEER_DATA
        while True:
            news = json.loads((await ask(request("GET", target, one.forwarded()))).body)
            for peer in news["peers"]:
                if wanted[peer["uuid"]] != peer["meta"]:
                    raise AnswerWrong(f"{peer['uuid']} has not published {peer['meta']}")
                known.add(peer["uuid"])
            if len(known) == len(wanted):
                return
            await asyncio.sleep(news["poll_after_s"])
            target = f"{PEER_DATA}?since={news['revision']}"


# In the gateway's JSON each key is followed by its value, with numbers between them.
_PAIR = re.compile(rb'"key":"([^"]*)"[^{}]*"value":"([^"]*)"')


async def follow_etcd(one: Instance, project: Project, port: int, traffic: Traffic, _chance: random.Random) -> None:
    """Put the own key; read what is there; then watch, from there on."""
    prefix = f"storm/{project.name}"
    wanted = {
        (etcd.text64(f"{prefix}/{peer.uuid}").encode(), etcd.text64(etcd.both(peer)).encode())
        for peer in project.instances
    }
    with await Connection.open(port, traffic) as connection:
        etcd.check_put(await connection.ask(etcd.put_v3(f"{prefix}/{one.uuid}", etcd.both(one))))
        reply = await connection.ask(etcd.range_v3(prefix))
        known = set(_PAIR.findall(reply.body))
        missing = wanted - known
        revision = int(json.loads(reply.body)["header"]["revision"])
        line = b""
        if missing:
            async for part in connection.stream(etcd.watch_v3(prefix, since=revision)):
                *whole, line = (line + part).split(b"\n")
                for event in whole:
                    missing.difference_update(_PAIR.findall(event))
                if not missing:
                    return
            raise AnswerWrong(f"the watch ended, and {len(missing)} were not told")
