# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
What an operator can set: one frozen dataclass per section, each field an oslo.config option.

The help text of a field is the only place where a setting is explained: the
commented sample, ``docs/settings.md`` and ``peerdata settings`` are generated
from it. Names that nova, neutron or oslo have for the same thing are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from oslo_config import cfg

IDENTITY_MODES = ("neutron", "upstream", "inventory")


def _setting(option: type[cfg.Opt], default: Any, explanation: str, **rules: Any) -> Any:
    return field(
        default=default,
        repr=not rules.get("secret"),
        metadata={"option": option, "help": explanation.strip(), "rules": rules},
    )


@dataclass(frozen=True)
class ServiceSettings:
    """Of the whole process."""

    group: ClassVar[str] = "DEFAULT"

    state_path: str = _setting(
        cfg.StrOpt,
        "/var/lib/peerdata",
        "Directory for what the service keeps itself, the embedded store above all. It is made, mode 0700, where it is "
        "missing. Its disk decides how fast a publish is: one fsync for each group of them.",
    )


@dataclass(frozen=True)
class InstanceApiSettings:
    """Where instances, or the metadata proxies in front of them, reach the service."""

    group: ClassVar[str] = "instance_api"

    listen: tuple[str, ...] = _setting(
        cfg.ListOpt,
        ("127.0.0.1:8775",),
        "Addresses to listen on, each host:port; IPv6 in brackets, as in [::]:8775, which listens on IPv6 alone. 8775 "
        "is nova's own metadata port. Plain HTTP: name an address that only neutron's agents reach, or use listen_tls.",
    )
    listen_tls: tuple[str, ...] = _setting(
        cfg.ListOpt,
        (),
        "Addresses to listen on with TLS, each host:port. Neutron's agents use it with nova_metadata_protocol = https.",
    )
    ssl_cert_file: str = _setting(cfg.StrOpt, "", "Certificate, with its chain, of the TLS listeners (PEM).")
    ssl_key_file: str = _setting(cfg.StrOpt, "", "Private key of ssl_cert_file (PEM, not encrypted).")
    ssl_ca_file: str = _setting(
        cfg.StrOpt,
        "",
        "Certificate authorities (PEM). When set, a TLS client must show a certificate that one of them signed, as "
        "neutron's agents do with nova_client_cert and nova_client_priv_key.",
    )
    workers: int = _setting(
        cfg.IntOpt,
        1,
        "Processes that answer, under one that starts them and starts again those that die (nova calls it "
        "metadata_workers). More than one for more than one core: each has its own memory, its own connections to the "
        "store and to nova, and its own of all limits below.",
        min=1,
        max=128,
    )
    max_connections: int = _setting(
        cfg.IntOpt,
        4096,
        "Connections at once, TLS handshakes included; one more is answered 503, with TLS closed. Each costs about "
        "10 kB and a file descriptor: where RLIMIT_NOFILE is too low for so many, fewer are accepted, with a WARNING.",
        min=1,
        max=1_000_000,
    )
    head_timeout: float = _setting(
        cfg.FloatOpt,
        10.0,
        "Seconds within which a request's line and headers must arrive; slower connections are closed.",
        min=0.1,
        max=300,
    )
    body_timeout: float = _setting(
        cfg.FloatOpt,
        30.0,
        "Seconds within which a request's body must arrive; then it is answered 400. haproxy in front of an agent "
        "gives up after 32.",
        min=0.1,
        max=300,
    )
    idle_timeout: float = _setting(
        cfg.FloatOpt,
        75.0,
        "Seconds for which a connection may stay open without a request. Longer saves agents connections, and costs "
        "their memory.",
        min=0.1,
        max=3600,
    )
    max_connections_per_address: int = _setting(
        cfg.IntOpt,
        256,
        "Connections at once from one address; one more is answered 503. Not for [identity] trusted_proxies, nor with "
        "mode neutron, where all come from agents. 0: no such limit.",
        min=0,
        max=1_000_000,
    )
    max_incoming_bytes: int = _setting(
        cfg.IntOpt,
        64 * 1024 * 1024,
        "Memory for requests that are not whole yet, of all connections together, in bytes. Over it the connections "
        "that have held the most of it for the longest are closed.",
        min=4 * 1024 * 1024,
        max=1 << 36,
    )
    max_unwritten_bytes: int = _setting(
        cfg.IntOpt,
        256 * 1024 * 1024,
        "Memory for answers that slow clients have not read yet, of all connections together, in bytes; a list that "
        "several are sent counts once. Over it the slowest are closed, first those of the project that has the most.",
        min=4 * 1024 * 1024,
        max=1 << 36,
    )
    max_unwritten_bytes_per_project: int = _setting(
        cfg.IntOpt,
        64 * 1024 * 1024,
        "The same for the instances of one project. At least the longest answer that a project can get.",
        min=4 * 1024 * 1024,
        max=1 << 36,
    )
    healthcheck_path: str = _setting(
        cfg.StrOpt,
        "",
        "Path, such as /healthcheck, that is answered to balancers on listen and listen_tls without asking nova who "
        "calls: 200, and 503 from SIGTERM on. GET, HEAD and OPTIONS. Instances can ask for it too. Empty: none.",
    )
    drain: float = _setting(
        cfg.FloatOpt,
        12.0,
        "Seconds after SIGTERM in which new connections are still accepted, while health checks already fail and each "
        "answer is the last of its connection. At least as long as balancers take to see it: Kolla's makes five checks "
        "in 10 s. 0 where nothing checks.",
        min=0,
        max=300,
    )
    graceful_shutdown_timeout: float | None = _setting(
        cfg.FloatOpt,
        None,
        "Has no effect any more: what was begun before SIGTERM has [nova] pass_through_timeout to finish. See drain.",
        min=0,
        max=9,
        deprecated_for_removal=True,
        deprecated_reason="See [instance_api] drain and [nova] pass_through_timeout.",
    )


@dataclass(frozen=True)
class OperatorApiSettings:
    """Health and metrics, for the operator alone."""

    group: ClassVar[str] = "operator_api"

    listen: tuple[str, ...] = _setting(
        cfg.ListOpt,
        ("127.0.0.1:9775",),
        "Addresses, each host:port, for /healthz (the process lives), /readyz (store and nova answer) and /metrics "
        "(Prometheus). Plain HTTP without a password: never an address that instances reach. Empty: none.",
    )


@dataclass(frozen=True)
class NovaSettings:
    """The nova-metadata-api behind the service."""

    group: ClassVar[str] = "nova"

    metadata_url: str = _setting(
        cfg.StrOpt,
        "",
        "URL of nova-metadata-api, such as http://127.0.0.1:8775, without a path. Empty: stand-alone, no nova; the "
        "inventory says who is asking.",
    )
    timeout: float = _setting(
        cfg.FloatOpt,
        9.0,
        "Seconds for one question of our own to nova (who is asking, the document that a publish is answered with), "
        "from connecting to the last byte; then 504. Time spent waiting for a connection is not counted.",
        min=0.1,
        max=300,
    )
    pass_through_timeout: float = _setting(
        cfg.FloatOpt,
        60.0,
        "The same for a request that is only passed on, and how long requests that began before SIGTERM have to "
        "finish. Neutron's agents wait for 60 s; a shorter limit turns nova's slow answers (dynamic vendordata) into "
        "504, after which cloud-init goes on without them.",
        min=0.1,
        max=300,
    )
    max_connections: int = _setting(
        cfg.IntOpt,
        64,
        "Requests to nova at once, three quarters of them for one project at most; further ones wait, and projects "
        "take turns. Not more than nova has workers and listen queue for. As many connections are kept for reuse.",
        min=1,
        max=10_000,
    )
    queue_timeout: float = _setting(
        cfg.FloatOpt,
        55.0,
        "Seconds for which a request may wait until nova may be asked; then it is answered 504, and nova is not asked. "
        "Keep it below the 60 s for which neutron's agents wait: a longer one has nova work for callers that are gone.",
        min=0.1,
        max=300,
    )
    max_queued_bytes: int = _setting(
        cfg.IntOpt,
        64 * 1024 * 1024,
        "Memory for requests that wait for nova, by estimate: each counts its own bytes and 4 kB. Beyond it the "
        "project that has the most waiting is answered 503. Too little costs instances that boot their keys and user "
        "data, because cloud-init does not repeat a call after a 503.",
        min=1024 * 1024,
        max=1 << 36,
    )
    idle_timeout: float = _setting(
        cfg.FloatOpt,
        30.0,
        "Seconds for which an unused connection to nova is kept. Longer than nova's own limit is best: then nova is "
        "the one that closes. 0: each request has a new connection.",
        min=0,
        max=3600,
    )
    max_answer_bytes: int = _setting(
        cfg.IntOpt,
        4 * 1024 * 1024,
        "Longest answer that is taken from nova; a longer one is answered 502. It is held in memory, once for each "
        "request that is under way.",
        min=65_536,
        max=1 << 30,
    )
    cafile: str = _setting(
        cfg.StrOpt, "", "Certificate authorities (PEM) for an https metadata_url. Empty: the system's."
    )
    certfile: str = _setting(cfg.StrOpt, "", "Client certificate (PEM) to show to nova.")
    keyfile: str = _setting(cfg.StrOpt, "", "Private key of certfile (PEM).")
    insecure: bool = _setting(cfg.BoolOpt, False, "Do not check nova's certificate. For laboratories.")


@dataclass(frozen=True)
class NeutronSettings:
    """What is agreed with neutron's metadata agents."""

    group: ClassVar[str] = "neutron"

    metadata_proxy_shared_secret: str = _setting(
        cfg.StrOpt,
        "",
        "The same secret as in nova's [neutron] metadata_proxy_shared_secret and in the metadata agents. With it the "
        "agents sign which instance is asking.",
        secret=True,
    )


@dataclass(frozen=True)
class IdentitySettings:
    """How the service knows which instance is asking."""

    group: ClassVar[str] = "identity"

    mode: str = _setting(
        cfg.StrOpt,
        "",
        "neutron: signed headers of the metadata agents. upstream: whatever nova makes of the headers or the address. "
        "inventory: a file. Empty: neutron with a nova, inventory without.",
        choices=("", *IDENTITY_MODES),
    )
    inventory_file: str = _setting(
        cfg.StrOpt, "", "YAML file that maps source addresses to instances. Read at the start and again at SIGHUP."
    )
    trusted_proxies: tuple[str, ...] = _setting(
        cfg.ListOpt,
        (),
        "Addresses or networks (CIDR) of proxies whose X-Forwarded-For, and with mode upstream whose "
        "X-Metadata-Provider and other identity headers, are believed. Of anybody else they are ignored. Not used with "
        "mode neutron: there the signature is the proof.",
    )
    proof_lifetime: float = _setting(
        cfg.FloatOpt,
        300.0,
        "Seconds for which nova's word on who an instance is counts. Each instance that asks costs nova one question "
        "in that time; a deleted instance is known for as long.",
        min=0,
        max=86_400,
    )
    stale_proof_lifetime: float = _setting(
        cfg.FloatOpt,
        86_400.0,
        "Seconds after which a proof is too old even for reading the list of peers while nova is away. For that the "
        "store keeps a row for each instance (mode neutron), written anew at most 24 times in this span; 0: none.",
        min=0,
        max=31 * 86_400,
    )
    max_proofs: int = _setting(
        cfg.IntOpt,
        100_000,
        "Instances whose proof is remembered; the one unused for longest makes room. Each costs about 700 bytes.",
        min=1,
        max=10_000_000,
    )


@dataclass(frozen=True)
class LimitsSettings:
    """How much an instance and a project may keep, and ask for."""

    group: ClassVar[str] = "limits"

    max_value_chars: int = _setting(
        cfg.IntOpt,
        255,
        "Longest value, in characters. Nova's own is 255; programs that read meta_data.json may not expect more.",
        min=1,
        max=65_536,
    )
    max_keys_per_instance: int = _setting(
        cfg.IntOpt, 128, "Keys that one instance may set, shared and unshared together.", min=1, max=10_000
    )
    max_keys_per_project: int = _setting(
        cfg.IntOpt,
        20_000,
        "Keys that all instances of a project together may set. A full read sends all shared ones to each that asks, "
        "so a project of N peers costs N times this when it boots.",
        min=1,
        max=10_000_000,
    )
    max_bytes_per_instance: int = _setting(
        cfg.IntOpt,
        256 * 1024,
        "Bytes of the keys and values of one instance, in UTF-8. As many as 128 keys can have whose values have 255 "
        "characters, so it matters only with a higher max_value_chars.",
        min=1024,
        max=1 << 36,
    )
    max_bytes_per_project: int = _setting(
        cfg.IntOpt,
        8 * 1024 * 1024,
        "Bytes of the keys and values of one project, in UTF-8: 400 for each of 20 000 keys. Whoever reads in full is "
        "sent all that is shared; while a project is read it takes about four times as much of [cache] max_bytes.",
        min=1024,
        max=1 << 36,
    )
    max_clusters_per_project: int = _setting(
        cfg.IntOpt, 100, "Clusters with members that a project may have, told apart by name.", min=0, max=100_000
    )
    max_clusters_per_instance: int = _setting(
        cfg.IntOpt,
        20,
        "Clusters that one instance may be a member of, so that it cannot take all names of its project.",
        min=1,
        max=100_000,
    )
    max_body_bytes: int = _setting(
        cfg.IntOpt,
        65_536,
        "Longest request body, pass-through included; nothing beyond is read. Neutron's newer agents carry 3.8 kB.",
        min=1024,
        max=1 << 20,
    )
    max_wait: float = _setting(
        cfg.FloatOpt,
        0.0,
        "Longest that peer_data.json?wait= may hold an answer until something changes, in seconds. 0: it never does. "
        "Leave it so behind neutron: its newer agents serve one call at a time, and one that waits keeps every other "
        "instance of the host waiting.",
        min=0,
        max=25,
    )
    max_waiting: int = _setting(
        cfg.IntOpt,
        1000,
        "Answers that are held at once; one more is given without waiting. Each has a connection for itself.",
        min=1,
        max=1_000_000,
    )
    max_waiting_per_project: int = _setting(
        cfg.IntOpt,
        200,
        "Answers to instances of one project that are held at once.",
        min=1,
        max=1_000_000,
    )


@dataclass(frozen=True)
class DatabaseSettings:
    """The store."""

    group: ClassVar[str] = "database"

    connection: str = _setting(
        cfg.StrOpt,
        "sqlite:///$state_path/peerdata.sqlite",
        "SQLAlchemy URL of the store: sqlite:////absolute/path (embedded, for one host), "
        "postgresql+psycopg://user:password@host/name, or mysql+pymysql://user:password@host/name (MariaDB, and each "
        "node of a Galera cluster). A server's needs `peerdata db upgrade` once.",
        secret=True,
    )
    busy_timeout: float = _setting(
        cfg.FloatOpt,
        5.0,
        "Seconds to wait for a store that is locked, busy or silent; then 503.",
        min=0,
        max=25,
    )
    max_waiting_writes: int = _setting(
        cfg.IntOpt,
        1000,
        "Writes that may wait for the store at once, shared evenly between projects: when all places are taken, the "
        "project with most waiting has its newest answered 503. Each takes 2 KiB.",
        min=1,
        max=100_000,
    )


@dataclass(frozen=True)
class CacheSettings:
    """Projects held in memory, ready to be sent."""

    group: ClassVar[str] = "cache"

    max_bytes: int = _setting(
        cfg.IntOpt,
        64 * 1024 * 1024,
        "Memory for projects and clusters that are being read, their rendered texts and instances' own keys included, "
        "by estimate. What was unread for longest leaves; it costs one read of the store to bring it back. One project "
        "alone may go over.",
        min=0,
        max=1 << 36,
    )


@dataclass(frozen=True)
class Settings:
    """All sections; what `loading.load` returns has been checked as a whole."""

    service: ServiceSettings = ServiceSettings()
    instance_api: InstanceApiSettings = InstanceApiSettings()
    operator_api: OperatorApiSettings = OperatorApiSettings()
    nova: NovaSettings = NovaSettings()
    neutron: NeutronSettings = NeutronSettings()
    identity: IdentitySettings = IdentitySettings()
    limits: LimitsSettings = LimitsSettings()
    database: DatabaseSettings = DatabaseSettings()
    cache: CacheSettings = CacheSettings()

    @property
    def identity_mode(self) -> str:
        """``[identity] mode``, or what follows from whether there is a nova."""
        return self.identity.mode or ("neutron" if self.nova.metadata_url else "inventory")


SECTIONS: dict[str, Any] = {section.name: section.default.__class__ for section in fields(Settings)}
