"""Texts of usable settings files, to which a test adds what it is about; ``{there}`` is a file that can be read."""

from collections.abc import Callable

from peerdata.settings import Settings

Load = Callable[..., Settings]

NOVA = "[nova]\nmetadata_url = http://127.0.0.1:8775\n[neutron]\nmetadata_proxy_shared_secret = s\n"
STANDALONE = "[identity]\ninventory_file = {there}\n"
