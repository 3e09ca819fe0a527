# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Pure decisions: what may be published, and when to ask again. No store, no clock, no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from peerdata.errors import KeyInvalid, KeyTaken, MetaEmpty, QuotaReached, ValueInvalid, ValueTooLong
from peerdata.model import KEY_NAME, Entry, Quota, Usage

_SURROGATE = re.compile("[\ud800-\udfff]")


def check_meta(meta: Mapping[str, str], *, max_value_chars: int) -> None:
    """
    Raise for the first of *meta*, in alphabetical order, that no instance may ever set.

    Raises:
        MetaEmpty, KeyInvalid, ValueInvalid, ValueTooLong.

    Source: docs/protocol.md, "Publish", Bounds.
    """
    if not meta:
        raise MetaEmpty("there is no key to set: 'meta' is empty")
    for key, value in sorted(meta.items()):
        if not KEY_NAME.fullmatch(key):
            shown = printable(key)
            raise KeyInvalid(
                f"'{shown}' is not a key: 1 to 243 of the characters a-z A-Z 0-9 - _ : . and space", key=shown
            )
        if len(value) > max_value_chars:
            raise ValueTooLong(
                f"the value of '{printable(key)}' has {len(value)} characters, at most {max_value_chars} are kept",
                key=printable(key),
                limit=max_value_chars,
            )
        if "\0" in value:
            raise ValueInvalid(f"the value of '{printable(key)}' holds a NUL character", key=printable(key))
        if _SURROGATE.search(value):
            raise ValueInvalid(
                f"the value of '{printable(key)}' holds half of a surrogate pair, which is no character",
                key=printable(key),
            )


def printable(text: str, most: int = 60) -> str:
    """*text* as a message can show it: printable, at most so many characters."""
    shown = "".join(character if character.isprintable() else "�" for character in text[:most])
    return shown + "…" if len(text) > most else shown


def decide_publish(
    existing: Mapping[str, Entry],
    owned: Mapping[str, str],
    offered: Mapping[str, str],
    *,
    shared: bool,
    project: Usage,
    quota: Quota,
) -> tuple[Entry, ...]:
    """
    Decide on one call: all of it is stored, or nothing is.

    Args:
        existing: What the instance has set, by key.
        owned: What the owner set through nova under the same names, by key; counts as set, unshared.
        offered: What the call wants to set; passed `check_meta`.
        shared: The sharing of the whole call.
        project: What the project holds.
        quota: What the instance and the project may hold.

    Returns:
        What to store; nothing where everything offered is set already, just so.

    Raises:
        KeyTaken: a key holds another value or has another sharing.
        QuotaReached: the new keys would be too many, or too long together.
    """
    new = []
    for key, value in sorted(offered.items()):
        entry = existing.get(key)
        if entry is None and key in owned:
            entry = Entry(key, owned[key], shared=False)
        if entry is None:
            new.append(Entry(key, value, shared))
        elif entry.value != value:
            whose = "" if key in existing else " (set by the owner)"
            raise KeyTaken(
                f"key '{key}' already holds another value, of {len(entry.value)} characters{whose}; it can be set only "
                "once: read it in meta_data.json, or choose another name",
                key=key,
            )
        elif entry.shared != shared:
            raise KeyTaken(
                f"key '{key}' already holds this value, but {'shared' if entry.shared else 'not shared'}; the sharing "
                "of a key can be set only once: choose another name",
                key=key,
                shared="project" if entry.shared else None,
            )
    if not new:
        return ()
    _check_quota(existing, new, project, quota)
    return tuple(new)


def _check_quota(existing: Mapping[str, Entry], new: Sequence[Entry], project: Usage, quota: Quota) -> None:
    if len(existing) + len(new) > quota.keys_per_instance:
        raise QuotaReached(
            f"the instance has {len(existing)} keys and may have {quota.keys_per_instance}: {len(new)} more do not fit",
            limit=quota.keys_per_instance,
            scope="instance",
        )
    if project.keys + len(new) > quota.keys_per_project:
        raise QuotaReached(
            f"the project has {project.keys} keys and may have {quota.keys_per_project}: {len(new)} more do not fit",
            limit=quota.keys_per_project,
            scope="project",
        )
    more = sum(entry.bytes for entry in new)
    held = sum(entry.bytes for entry in existing.values())
    if held + more > quota.bytes_per_instance:
        raise QuotaReached(
            f"the keys and values of the instance have {held} bytes and may have {quota.bytes_per_instance}: {more} "
            "more do not fit",
            limit=quota.bytes_per_instance,
            scope="instance_bytes",
        )
    if project.bytes + more > quota.bytes_per_project:
        raise QuotaReached(
            f"the keys and values of the project have {project.bytes} bytes and may have {quota.bytes_per_project}: "
            f"{more} more do not fit",
            limit=quota.bytes_per_project,
            scope="project_bytes",
        )


POLL_LEAST_S = 2.0
POLL_MOST_S = 30.0


def cluster_poll_after_s(*, members: int, chance: float) -> float:
    """
    When a member should ask again about its cluster: in 1 to 1.5 s, later where there are hundreds of them.

    Args:
        members: How many are on the roll.
        chance: 0 to 1, at random.
    """
    return round(max(1.0, members / 200) * (1 + chance / 2), 2)


def poll_after_s(*, peers: int, quiet_s: float, chance: float) -> float:
    """
    When a caller should ask again.

    Two seconds while a project is forming; a tenth of the time for which nothing changed, so that what is new is seen
    soon relative to how long it took; and a millisecond for each peer, so that a project of thousands does not
    ask its agents thousands of times a second. Within neutron's 10 requests in 10 s (its rate limit, where turned on).

    Args:
        peers: How many there are.
        quiet_s: Seconds since this server last saw the project change.
        chance: 0 to 1, at random: spreads the answer by a quarter to both sides, so that nobody polls in step.
    """
    steady = min(POLL_MOST_S, max(POLL_LEAST_S, quiet_s / 10, peers / 1000))
    return round(steady * (0.75 + chance / 2), 2)
