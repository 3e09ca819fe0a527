"""Options of other OpenStack services are ignored and named; a mistyped one of ours is rejected."""

from collections.abc import Callable

import pytest

from peerdata.errors import SettingsInvalid
from peerdata.settings import load
from tests.unit.settings.texts import STANDALONE, Load

SHARED_FILE = """
[DEFAULT]
debug = true
transport_url = rabbit://openstack:pw@192.0.2.1
control_exchange = nova
rpc_response_timeout = 60
rpc_workers = 1
use_syslog = false
watch_log_file = true
verbose = true
my_ip = 192.0.2.10
instances_path = /srv
report_interval = 10
metadata_workers = 2
graceful_shutdown_timeout = 60
[keystone_authtoken]
auth_url = http://192.0.2.1:5000
password = x
[oslo_messaging_notifications]
driver = messagingv2
[oslo_messaging_rabbit]
heartbeat_in_pthread = false
[oslo_concurrency]
lock_path = /tmp
[api_database]
connection = mysql+pymysql://nova@192.0.2.1/nova_api
[glance]
[placement]
[service_user]
[database]
max_pool_size = 1
connection_recycle_time = 10
max_retries = -1
[neutron]
auth_type = password
username = neutron
service_metadata_proxy = true
[cache]
backend = oslo_cache.memcache_pool
enabled = true
memcache_servers = 192.0.2.1:11211
"""


def test_well_known_options_and_sections_of_other_services_are_ignored_and_named(config: Callable[[str], str]) -> None:
    ignored: list[str] = []
    settings, conf = load([config(STANDALONE + SHARED_FILE)], ignored=ignored)
    assert conf["debug"] is True
    assert settings.database.connection.startswith("sqlite")
    assert "[DEFAULT] transport_url" in ignored
    assert "[keystone_authtoken]" in ignored
    assert "[database] max_pool_size" in ignored
    assert "[DEFAULT] debug" not in ignored
    # An empty section sets nothing.
    assert "[glance]" not in ignored
    assert len(set(ignored)) == len(ignored)


def test_what_other_services_have_in_the_environment_is_ignored_and_named(
    load_text: Load, config: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = ["OS_KEYSTONE_AUTHTOKEN__PASSWORD", "OS_DEFAULT__TRANSPORT_URL", "OS_DATABASE__MAX_POOL_SIZE"]
    for variable in variables:
        monkeypatch.setenv(variable, "x")
    ignored: list[str] = []
    load([config(STANDALONE)], ignored=ignored)
    assert sorted(ignored) == sorted(variables)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[DEFAULT]\nstatepath = x\n", r"\[DEFAULT\] has no option 'statepath'"),
        ("[DEFAULT]\nlog_fil = x\n", r"\[DEFAULT\] has no option 'log_fil'"),
        ("[DEFAULT]\nworkers = 4\n", r"\[DEFAULT\] has no option 'workers'; it stands in \[instance_api\]"),
        ("[DEFAULT]\nmetadata_url = x\n", r"it stands in \[nova\]"),
        ("[data_base]\nconnection = x\n", r"no section \[data_base\]; is \[database\] meant\?"),
        ("[limit]\nmax_wait = 1\n", r"no section \[limit\]; is \[limits\] meant\?"),
        ("[database]\nconection = x\n", r"\[database\] has no option 'conection'"),
        ("[neutron]\nmetadata_proxy_secret = x\n", r"\[neutron\] has no option 'metadata_proxy_secret'"),
    ],
)
def test_a_slip_of_the_pen_in_one_of_ours_is_refused_all_the_same(load_text: Load, text: str, says: str) -> None:
    with pytest.raises(SettingsInvalid, match=says):
        load_text(STANDALONE + text)


def test_names_that_options_of_logging_once_had_still_count(load_text: Load, config: Callable[[str], str]) -> None:
    ignored: list[str] = []
    conf = load([config(STANDALONE + "[DEFAULT]\nlogdir = /srv\n")], ignored=ignored)[1]
    assert (conf["log_dir"], ignored) == ("/srv", [])
