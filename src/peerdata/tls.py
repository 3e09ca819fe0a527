# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Every TLS context, made from the files that settings name: one for connections that come in, one for those to nova.
"""

from __future__ import annotations

import ssl

from peerdata.errors import SettingsInvalid
from peerdata.settings import InstanceApiSettings, NovaSettings


def server_tls(settings: InstanceApiSettings) -> ssl.SSLContext:
    """
    The context of the TLS listeners; with ``ssl_ca_file`` a client must show a certificate.

    Raises:
        SettingsInvalid: certificate or key cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, password=_no_password)
        if settings.ssl_ca_file:
            context.load_verify_locations(settings.ssl_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsInvalid(
            f"[instance_api] ssl_cert_file, ssl_key_file or ssl_ca_file cannot be used: {error}"
        ) from error
    return context


def nova_tls(settings: NovaSettings) -> ssl.SSLContext:
    """
    The context of connections to nova.

    Raises:
        SettingsInvalid: authorities, certificate or key cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.cafile or None)
        if settings.certfile:
            context.load_cert_chain(settings.certfile, settings.keyfile, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsInvalid(f"[nova] cafile, certfile or keyfile cannot be used: {error}") from error
    if settings.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    """For OpenSSL, which would ask on the terminal for the password of an encrypted key."""
    raise ValueError("the private key is encrypted, and there is nobody to ask for its password")
