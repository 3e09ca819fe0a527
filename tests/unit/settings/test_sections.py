"""The sections as they are declared."""

from dataclasses import fields

from peerdata.settings import SECTIONS, NeutronSettings, Settings
from tests.unit.settings.texts import NOVA, Load


def test_the_default_of_every_option_is_what_the_dataclass_says(load_text: Load) -> None:
    settings = load_text(NOVA)
    for name, section in SECTIONS.items():
        for entry in fields(section):
            if entry.name not in ("metadata_url", "metadata_proxy_shared_secret", "connection"):
                assert getattr(getattr(settings, name), entry.name) == entry.default


def test_a_secret_does_not_stand_in_the_repr() -> None:
    """Settings end up in tracebacks and debug logs."""
    settings = Settings(neutron=NeutronSettings(metadata_proxy_shared_secret="correct horse"))
    assert "correct horse" not in repr(settings)
