"""Errors of the driver and of the link, as they are said."""

import ssl

from asyncjobs.db.errors import translated
from asyncjobs.exceptions import DatabaseUnavailable


def test_a_certificate_that_is_refused_is_said_to_be_that() -> None:
    refused = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    refused.verify_message = "self-signed certificate"
    error = translated(refused, url="postgresql://u:s3cret@db.example.com/app?sslmode=verify-full")
    assert str(error).startswith("the certificate of the server at db.example.com was refused: self-signed certificate")
    assert not isinstance(error, DatabaseUnavailable)
