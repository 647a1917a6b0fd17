"""What is the matter with a TLS certificate and its key, for people. How they are used is listening.py's."""

from __future__ import annotations

import ssl
from pathlib import Path

_NOT_YET_VALID, _EXPIRED = 9, 10
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
_HANDSHAKE_TURNS_MAX = 10


def trouble(certfile: str, keyfile: str, error: Exception) -> str:
    """Why the files could not be loaded, and which of them is to blame; OpenSSL's own words tell few people that."""
    if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
        return "the key is that of another certificate"
    for key, path, what in (("CERTFILE", certfile, "certificate"), ("KEYFILE", keyfile, "private key")):
        try:
            text = Path(path).read_bytes()
        except OSError as unreadable:
            return f"{key} cannot be read ({unreadable.strerror})"
        if f"{what.upper()}-----".encode() not in text:
            return f"there is no {what} in {key}"
    if b"ENCRYPTED" in text:
        return "the key has a password"
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)


def out_of_date(certfile: str, context: ssl.SSLContext) -> str:
    """`has expired`, `is not valid yet`, or nothing. Clients refuse such a certificate; the server would not notice.

    The ssl module tells it only to a client, so that one is made here, which believes this certificate alone."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.load_verify_locations(certfile)
        sides = (client.wrap_bio(to_client, to_server), context.wrap_bio(to_server, to_client, server_side=True))
        for turn in range(_HANDSHAKE_TURNS_MAX):
            try:
                sides[turn % 2].do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as error:
        return {_NOT_YET_VALID: "is not valid yet", _EXPIRED: "has expired"}.get(error.verify_code, "")
    except ssl.SSLError:
        pass  # Something else that clients will say.
    return ""
