# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
The history of clusters in the log: one line for each verdict `bootstrap`, each confirmation, removal and new term.

Each line begins with ``cluster NAME of project PROJECT:``, so ``grep`` finds the history of one cluster. It is written
once, by the process that decided, after the store has kept it. What other servers and the operator's commands decide is
seen as a term that is higher than the one that was known here. Rules stand in `verdict`; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from peerdata.errors import StoreUnavailable
from peerdata.model import Cluster, Instance
from peerdata.service.rules import printable
from peerdata.store.clusters import Departure
from peerdata.store.engine import NOT_KNOWN

LOG = logging.getLogger(__name__)

MAX_CLUSTERS = 10_000
"""Clusters whose last term is remembered; the one unread for longest is forgotten. Each costs about 300 bytes."""

MAX_NAME_CHARS = 64

NameOf = Callable[[Instance], str]
"""What an instance is called, for a person; empty where that is not known at once."""


class Event(NamedTuple):
    """Something that became of a cluster."""

    what: str
    term: int
    """In which it happened; of a new term that one."""
    uuid: str
    """Of the instance that it happened to; empty: to none."""
    more: str = ""


def events(before: Cluster | None, after: Cluster, *, by: str = "") -> list[Event]:
    """
    What the log says of a change, in the order in which it happened.

    Args:
        before: None: nobody had heard of the cluster.
        by: The instance whose call it was.
    """
    there = before.members if before else ()
    term = before.term if before else 0
    found = [Event("removed", term, member.uuid) for member in there if after.member(member.uuid) is None]
    if before and after.term > term:
        found.append(Event("new term", after.term, "", "a founder was removed" if after.members else "nobody is left"))
    chosen_before = {member.uuid for member in there if member.founder} if after.term == term else set()
    founders = [member.uuid for member in after.founders if member.uuid not in chosen_before]
    found += [Event("bootstrap", after.term, uuid) for uuid in founders]
    if after.formed and not (before and before.formed):
        found.append(Event("formed", after.term, by))
    return found


class Decision:
    """
    What decides on a cluster, and what it was given and gave. The store may ask it more than once.

    Args:
        decide: As `store.clusters.Change`.
    """

    def __init__(self, decide: Callable[[Cluster | None], Cluster]) -> None:
        self._decide = decide
        self._runs: list[tuple[Cluster | None, Cluster]] = []

    def __call__(self, cluster: Cluster | None) -> Cluster:
        after = self._decide(cluster)
        self._runs.append((cluster, after))
        return after

    def change(self) -> tuple[Cluster | None, Cluster] | None:
        """
        The cluster before and after; None where nothing changed.

        If a connection was lost during COMMIT, the work is done again and then finds what it has stored itself.
        """
        if not self._runs:
            return None
        kept = self._runs[-1][1]
        return next(((before, after) for before, after in reversed(self._runs) if before != after == kept), None)


class History:
    """
    Writes the lines.

    Args:
        name_of: Asked once for each line.
    """

    def __init__(self, name_of: NameOf = lambda _: "") -> None:
        self._name_of = name_of
        self._terms: OrderedDict[tuple[str, str], int] = OrderedDict()
        """The last term of clusters, by project and name."""
        self._deciding: Counter[str] = Counter()
        """Projects in which this process is about to decide something."""

    @contextmanager
    def telling(self, caller: Instance, name: str, decide: Callable[[Cluster | None], Cluster]) -> Iterator[Decision]:
        """
        Let the store ask what is given here instead of *decide*; at the end the log has what came of it.

        Args:
            caller: Whose call it is.
            name: Of the cluster.
        """
        decision = Decision(decide)
        with self.deciding(caller.project_id):
            try:
                yield decision
            except (StoreUnavailable, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) or error.message == NOT_KNOWN:
                    self._tell_change(caller, name, decision, ", if the store has kept it")
                raise
            self._tell_change(caller, name, decision)

    @contextmanager
    def deciding(self, project_id: str) -> Iterator[None]:
        """Meanwhile `see` takes no change in that project for one that somebody else has made."""
        self._deciding[project_id] += 1
        try:
            yield
        finally:
            self._deciding[project_id] -= 1
            if not self._deciding[project_id]:
                del self._deciding[project_id]

    def tell_departures(self, instance: Instance, departures: Sequence[Departure]) -> None:
        """Tell of an instance that does not exist any more, and was a member of these clusters."""
        for departure in departures:
            found = events(departure.before, departure.after)
            found[0] = found[0]._replace(more="which does not exist any more")
            self._tell(instance.project_id, departure.cluster, found)
            self._note(instance.project_id, departure.cluster, departure.after.term)

    def see(self, project_id: str, name: str, cluster: Cluster | None) -> None:
        """Tell of a term that is higher than the last one that was known here, and was not decided here."""
        if cluster is None:
            return
        known, term = self._terms.get((project_id, name)), cluster.term
        if known == term or project_id in self._deciding:
            return
        self._note(project_id, name, term)
        if known is not None and known < term:
            founders = [f"founder {self._show(Instance(member.uuid, project_id))}" for member in cluster.founders]
            why = ", ".join(["decided by another server or a command", *founders])
            self._tell(project_id, name, [Event("new term", term, "", why)])

    def _tell_change(self, caller: Instance, name: str, decision: Decision, doubt: str = "") -> None:
        if change := decision.change():
            self._tell(caller.project_id, name, events(*change, by=caller.uuid), doubt)
            self._note(caller.project_id, name, change[1].term)

    def _tell(self, project_id: str, name: str, told: Sequence[Event], doubt: str = "") -> None:
        for what, term, uuid, more in told:
            facts = [f"instance {self._show(Instance(uuid, project_id))}"] if uuid else []
            facts += [more] if more else []
            line = f"cluster {name} of project {printable(project_id)}: {what}, term {term}: {', '.join(facts)}{doubt}"
            LOG.info("%s", line)

    def _note(self, project_id: str, name: str, term: int) -> None:
        self._terms[project_id, name] = term
        self._terms.move_to_end((project_id, name))
        if len(self._terms) > MAX_CLUSTERS:
            self._terms.popitem(last=False)

    def _show(self, instance: Instance) -> str:
        called = printable(self._name_of(instance), MAX_NAME_CHARS)
        return f"{instance.uuid} ({called})" if called else instance.uuid
