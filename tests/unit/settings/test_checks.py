"""Settings that are well-formed but cannot work together are rejected with a sentence that names the option."""

import pytest

from peerdata.errors import SettingsInvalid
from peerdata.settings import parse_address
from tests.unit.settings.texts import NOVA, STANDALONE, Load


def test_stand_alone_needs_an_inventory_and_nothing_else(load_text: Load) -> None:
    settings = load_text(STANDALONE)
    assert settings.identity_mode == "inventory"
    assert settings.instance_api.listen == ("127.0.0.1:8775",)
    assert settings.database.connection == "sqlite:////var/lib/peerdata/peerdata.sqlite"


def test_in_front_of_nova_the_mode_is_neutron(load_text: Load) -> None:
    assert load_text(NOVA).identity_mode == "neutron"


IMPOSSIBLE = [
    (
        "a health check without a slash",
        STANDALONE + "[instance_api]\nhealthcheck_path = healthcheck",
        r"\[instance_api\] healthcheck_path 'healthcheck' must be a path",
    ),
    (
        "a health check with a query",
        STANDALONE + "[instance_api]\nhealthcheck_path = /healthcheck?a",
        r"\[instance_api\] healthcheck_path '/healthcheck\?a' must be a path",
    ),
    ("nothing set at all", "", r"\[nova\] metadata_url.*\[identity\] inventory_file"),
    ("no secret", "[nova]\nmetadata_url = http://127.0.0.1:8775\n", r"\[neutron\] metadata_proxy_shared_secret"),
    (
        "neutron without nova",
        "[identity]\nmode = neutron\n[neutron]\nmetadata_proxy_shared_secret = s\n",
        "mode = neut",
    ),
    ("upstream without nova", "[identity]\nmode = upstream\n", r"mode = upstream.*\[nova\] metadata_url"),
    ("inventory without a file", "[identity]\nmode = inventory\n", "inventory_file"),
    ("inventory and nova", NOVA + STANDALONE + "mode = inventory\n", "mode = inventory.*metadata_url"),
    ("a file that is not there", "[identity]\ninventory_file = /nowhere\n", r"\[identity\] inventory_file.*'/nowhere'"),
    ("a proxy that is no address", STANDALONE + "trusted_proxies = localhost\n", "trusted_proxies: 'localhost'"),
    ("a proxy with a port", STANDALONE + "trusted_proxies = 192.0.2.1:80\n", "trusted_proxies"),
    ("nowhere to listen", "[instance_api]\nlisten =\n" + STANDALONE, r"\[instance_api\] listen"),
    ("listen without a port", "[instance_api]\nlisten = 127.0.0.1\n" + STANDALONE, r"\[instance_api\] listen"),
    ("listen on IPv6 without brackets", "[instance_api]\nlisten = ::1:80\n" + STANDALONE, "brackets"),
    ("operators on no port", "[operator_api]\nlisten = 127.0.0.1\n" + STANDALONE, r"\[operator_api\] listen"),
    (
        "TLS without a certificate",
        "[instance_api]\nlisten_tls = 127.0.0.1:1\n" + STANDALONE,
        "listen_tls.*ssl_cert_file",
    ),
    (
        "TLS without a key",
        "[instance_api]\nlisten_tls = 127.0.0.1:1\nssl_cert_file = {there}\n" + STANDALONE,
        "ssl_key_file",
    ),
    (
        "a certificate that is not there",
        "[instance_api]\nssl_cert_file = /nowhere\n" + STANDALONE,
        r"\[instance_api\] ssl_cert_file.*'/nowhere'",
    ),
    ("a certificate for nova without a key", NOVA + "[nova]\ncertfile = {there}\n", r"\[nova\] certfile and keyfile"),
    ("authorities that are not there", NOVA + "[nova]\ncafile = /nowhere\n", r"\[nova\] cafile.*'/nowhere'"),
]


@pytest.mark.parametrize(("text", "names"), [row[1:] for row in IMPOSSIBLE], ids=[row[0] for row in IMPOSSIBLE])
def test_what_cannot_work_is_refused_with_a_sentence_that_names_it(load_text: Load, text: str, names: str) -> None:
    with pytest.raises(SettingsInvalid, match=names) as refused:
        load_text(text)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "url",
    [
        "nova",
        "127.0.0.1:8775",
        "ftp://127.0.0.1:8775",
        "http://",
        "http://:8775",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8775/nova",
        "http://127.0.0.1:8775/?x=y",
        "http://127.0.0.1:8775/#x",
        "http://user:pw@127.0.0.1:8775",
    ],
)
def test_the_url_of_nova_has_a_host_and_nothing_behind_it(load_text: Load, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"\[nova\] metadata_url"):
        load_text(f"[nova]\nmetadata_url = {url}\n[neutron]\nmetadata_proxy_shared_secret = s\n")


@pytest.mark.parametrize("url", ["http://nova", "https://nova:443", "http://[::1]:8775", "http://127.0.0.1:8775/"])
def test_a_url_of_nova_is_accepted_with_and_without_port_and_slash(load_text: Load, url: str) -> None:
    text = f"[nova]\nmetadata_url = {url}\n[neutron]\nmetadata_proxy_shared_secret = s\n"
    assert load_text(text).nova.metadata_url == url


def test_a_bracket_that_is_not_closed_is_refused(load_text: Load) -> None:
    with pytest.raises(SettingsInvalid, match="metadata_url"):
        load_text("[nova]\nmetadata_url = http://[::1\n[neutron]\nmetadata_proxy_shared_secret = s\n")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8775", ("127.0.0.1", 8775)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:65535", ("::", 65535)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, option="x") == address


@pytest.mark.parametrize(
    "text",
    ["", ":", ":80", "host", "host:", "host:x", "host:-1", "host:65536", "host:٣", "::1", "::1:80", "[::1]", "[]:80"],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="the option"):
        parse_address(text, option="the option")
