# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
A store that is not there yet when the service starts is tried again, beside everything else, until it can be used.

Each try is made in a thread of its own that nobody has to wait for: a server that accepts a connection and then does
not respond must hold up neither the start nor the end.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from peerdata.errors import PeerdataError, StoreUnavailable
from peerdata.store.engine import Engine
from peerdata.store.measuring import measured

LOG = logging.getLogger(__name__)

THREAD = "store-open"
"""Name of a thread that tries to open the store."""

Prepare = Callable[[], object]
"""Makes the store ready, or raises why it cannot be used: `StoreUnavailable`, or `SettingsInvalid` for good."""

PATIENCE_S = 15.0
"""How long one try may take: connecting to a server and asking for its schema, each within [database] busy_timeout."""

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 10.0
"""Between two tries; they double from one to the other. A database that comes back is used within that time."""


def try_once(prepare: Prepare, *, patience_s: float = PATIENCE_S) -> None:
    """
    Run *prepare*, and wait for it no longer than *patience_s*.

    Raises:
        StoreUnavailable: the store is not there, or does not respond.
        SettingsInvalid: it cannot be used, now or later.
    """
    try:
        _begin(prepare).result(patience_s)
    except TimeoutError as error:
        raise _no_response(patience_s) from error


async def open_when_there(
    engine: Engine, prepare: Prepare, *, first_pause_s: float = FIRST_PAUSE_S, patience_s: float = PATIENCE_S
) -> None:
    """
    Run *prepare* again and again until it succeeds, then open *engine*. What is in the way is logged each time.

    A store of the wrong schema is tried again too: the operator may be about to upgrade it.
    """
    pause_s = first_pause_s
    began = time.monotonic()
    while True:
        try:
            async with asyncio.timeout(patience_s):
                await asyncio.wrap_future(_begin(prepare))
            engine.open()
            break
        except TimeoutError:
            reason = _no_response(patience_s).message
        except PeerdataError as error:
            reason = error.message
        except Exception as error:
            LOG.exception("The store could not be opened")
            reason = str(error)
        LOG.error("The store cannot be used yet: %s; next try in %.1f s", reason, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, MAX_PAUSE_S)
    LOG.info("The store is there, after %.1f s, and is used from now on", time.monotonic() - began)


def _begin(prepare: Prepare) -> Future[None]:
    future: Future[None] = Future()

    def run() -> None:
        try:
            with measured("open"):
                prepare()
        except BaseException as error:
            outcome: BaseException | None = error
        else:
            outcome = None
        try:
            if outcome:
                future.set_exception(outcome)
            else:
                future.set_result(None)
        except Exception:
            LOG.debug("A try to open the store has ended after it was given up")

    threading.Thread(target=run, name=THREAD, daemon=True).start()
    return future


def is_trying() -> bool:
    """Whether a thread still waits for the store; a driver that waits for a silent server cannot be interrupted."""
    return any(thread.name == THREAD for thread in threading.enumerate())


def _no_response(patience_s: float) -> StoreUnavailable:
    return StoreUnavailable(f"the store has not responded for {patience_s:g} s")
