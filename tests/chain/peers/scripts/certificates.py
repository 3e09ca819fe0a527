# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The peerdata authors
"""
Runs in neutron's environment (which has cryptography): makes a certificate authority, a server and a client.

Argument: the directory. Writes ca.pem, server.pem, server.key, client.pem and client.key; the server is 127.0.0.1.
"""

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certificate(subject, key, issuer, issuer_key, *extensions):
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(issuer_key, hashes.SHA256())


def main(place):
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = certificate("ca", ca_key, "ca", ca_key, (x509.BasicConstraints(ca=True, path_length=None), True))
    (place / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    for who, extensions in (("server", [(address, False)]), ("client", [])):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = certificate(who, key, "ca", ca_key, *extensions)
        (place / f"{who}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (place / f"{who}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
