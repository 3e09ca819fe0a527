# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What an operator can set.

`sections` has the settings, `loading` reads them, `checks` rejects what cannot work together, and `foreign` tells
other services' options from mistyped ones. What the other packages use is imported from here.
"""

from peerdata.settings.checks import parse_address
from peerdata.settings.loading import differences, list_opts, load
from peerdata.settings.sections import (
    SECTIONS,
    CacheSettings,
    DatabaseSettings,
    IdentitySettings,
    InstanceApiSettings,
    LimitsSettings,
    NeutronSettings,
    NovaSettings,
    OperatorApiSettings,
    ServiceSettings,
    Settings,
)

__all__ = [
    "SECTIONS",
    "CacheSettings",
    "DatabaseSettings",
    "IdentitySettings",
    "InstanceApiSettings",
    "LimitsSettings",
    "NeutronSettings",
    "NovaSettings",
    "OperatorApiSettings",
    "ServiceSettings",
    "Settings",
    "differences",
    "list_opts",
    "load",
    "parse_address",
]
