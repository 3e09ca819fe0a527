# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Which unknown options are another OpenStack service's, and which are one of ours with a slip of the pen.

Oslo.config ignores what it does not know, so a mistyped option would silently not be set. But operators share one file
between services, and deployment tools write the same options into all of them. The rule: what is close to one of ours,
or stands in a section of ours, is refused; what other services have is ignored, and named once.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from difflib import get_close_matches

Known = Mapping[str, Set[str]]
"""The options that there are, by section; ``DEFAULT`` is one."""

_CLOSE = 0.85
"""Ratio of difflib: ``log_fil`` and ``statepath`` are above it; ``instances_path``, ``watch_log_file`` and all other
well-known options of OpenStack are below."""

_CLOSE_SECTION = 0.8
"""``[operator]`` is as close as that to ours; of other services' sections only `_SECTIONS` are."""

_SECTIONS = frozenset({"api_database"})
"""Sections of other services that look like one of ours."""

_KEYSTONEAUTH = {
    "auth_section", "auth_type", "auth_url", "collect_timing", "connect_retries", "connect_retry_delay",
    "default_domain_id", "default_domain_name", "domain_id", "domain_name", "endpoint_override", "endpoint_type",
    "max_version", "min_version", "password", "project_domain_id", "project_domain_name", "project_id", "project_name",
    "region_name", "service_name", "service_type", "split_loggers", "status_code_retries", "status_code_retry_delay",
    "system_scope", "tenant_name", "trust_id", "user_domain_id", "user_domain_name", "user_id", "username",
    "valid_interfaces",
}  # fmt: skip

_OPTIONS: Mapping[str, Set[str]] = {
    # oslo.service has it there; ours is in [instance_api].
    "DEFAULT": {"graceful_shutdown_timeout"},
    # oslo.db, which deployment tools set for every service
    "database": {
        "asyncio_connection", "asyncio_slave_connection", "backend", "connection_debug", "connection_parameters",
        "connection_recycle_time", "connection_trace", "db_inc_retry_interval", "db_max_retries",
        "db_max_retry_interval", "db_retry_interval", "max_overflow", "max_pool_size", "max_retries", "mysql_sql_mode",
        "mysql_wsrep_sync_wait", "pool_timeout", "retry_interval", "slave_connection", "sqlite_synchronous",
        "synchronous_reader", "use_db_reconnect",
    },
    # oslo.cache
    "cache": {
        "backend", "backend_argument", "config_prefix", "debug_cache_backend", "enabled", "expiration_time",
        "memcache_servers", "proxies", "tls_enabled",
    },
    # nova.conf's [neutron], neutron.conf's [nova]
    "neutron": {*_KEYSTONEAUTH, "cafile", "certfile", "default_floating_pool", "extension_sync_interval",
                "http_retries", "insecure", "keyfile", "ovs_bridge", "physnets", "service_metadata_proxy", "timeout"},
    "nova": {*_KEYSTONEAUTH, "live_migration_events"},
}  # fmt: skip
"""Well-known options of other services in sections that are called as ours are."""


def reason_to_refuse(known: Known, group: str, option: str | None = None) -> str:
    """
    Why the section *group*, or its *option*, cannot be meant as it stands; empty if it is known or another service's.

    Args:
        known: Ours, and oslo.log's in ``DEFAULT``.
        group: As it is written.
        option: As it is written; None: only the section is looked at.
    """
    if group not in known:
        near = [] if group in _SECTIONS else _near(group, known, _CLOSE_SECTION)
        return f"there is no section [{group}]; is [{near[0]}] meant?" if near else ""
    if option is None or option in known[group] or option in _OPTIONS.get(group, ()):
        return ""
    if group != "DEFAULT":
        return f"[{group}] has no option '{option}'"
    if elsewhere := next((name for name in known if name != "DEFAULT" and option in known[name]), None):
        return f"[DEFAULT] has no option '{option}'; it stands in [{elsewhere}]"
    # Not every word for the same thing is close: state_dir.
    if _near(option, [*known["DEFAULT"], *known], _CLOSE) or option.startswith("state_"):
        return f"[DEFAULT] has no option '{option}'"
    return ""


def _near(name: str, names: Mapping[str, object] | list[str], ratio: float) -> list[str]:
    """The nearest of *names*, if it is at least as close as *ratio*."""
    return get_close_matches(name.lower().replace("-", "_"), list(names), n=1, cutoff=ratio)
