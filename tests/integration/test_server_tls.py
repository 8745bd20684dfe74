"""TLS of the feature server and of the catalogue page: with a certificate as a real process, and what is refused before anything is opened."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("cryptography", reason="pip install cryptography")

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import e2i_fs as fs
from tests.serving import COMMAND, served

KEY = "a-key-that-may-read"
ENV = {**os.environ, "E2I_FS_READ_KEYS": KEY}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    (folder / "e2i_fs.yaml").write_text("backends: [{name: local, backend: duckdb, path: store}]\n", encoding="utf-8")
    with fs.connect(folder / "e2i_fs.yaml") as store:
        store.apply([fs.FeatureView("stats", entities=[fs.Entity("driver")], schema=[fs.Field("trips", fs.Int64)])])
    certified(folder, "")
    certified(folder, "other-")
    return folder


def certified(folder: Path, prefix: str) -> None:
    """Write a certificate that signs itself, for this machine, and its key, as it is and with a password."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2i_fs")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = builder.not_valid_after(now + dt.timedelta(days=1)).add_extension(names, False).sign(key, hashes.SHA256())
    (folder / f"{prefix}cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    for file, lock in (
        ("key.pem", serialization.NoEncryption()),
        ("locked.pem", serialization.BestAvailableEncryption(b"secret")),
    ):
        written = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        (folder / f"{prefix}{file}").write_bytes(written)


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    with served(project, "--certfile", "cert.pem", "--keyfile", "key.pem", env=ENV) as (address, _):
        yield address


def test_features_are_served_over_tls_to_who_has_a_key(address: str, project: Path) -> None:
    assert address.startswith("https://")
    asked = {"features": ["stats:trips"], "entities": {"driver": ["a"]}}
    for headers, status in (({"Authorization": f"Bearer {KEY}"}, 200), ({}, 401)):
        told = requests.post(
            f"{address}/get-online-features", json=asked, headers=headers, timeout=30, verify=str(project / "cert.pem")
        )
        assert told.status_code == status
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{address}/healthz", timeout=30, verify=str(project / "other-cert.pem"))


def test_the_catalogue_page_is_served_over_tls_to_who_has_a_key(project: Path) -> None:
    with served(project, "--certfile", "cert.pem", "--keyfile", "key.pem", env=ENV, page=True) as (address, _):
        assert address.startswith("https://")
        for user, status in ((("anyone", KEY), 200), (None, 401)):
            told = requests.get(f"{address}/document.json", auth=user, timeout=30, verify=str(project / "cert.pem"))
            assert told.status_code == status


def test_nothing_is_said_in_clear_or_over_an_old_tls(address: str) -> None:
    where = urlsplit(address)
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=20) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with (
        socket.create_connection((str(where.hostname), where.port or 0), timeout=20) as raw,
        pytest.raises(ssl.SSLError),
    ):
        old.wrap_socket(raw)


@pytest.mark.parametrize(("command", "options", "told"), [
    ("serve", ["--certfile", "cert.pem"], "go together"),
    ("serve", ["--certfile", "none.pem", "--keyfile", "key.pem"], "No such file"),
    ("serve", ["--certfile", "cert.pem", "--keyfile", "other-key.pem"], "cannot be served with"),
    ("serve", ["--certfile", "cert.pem", "--keyfile", "locked.pem"], "without a password"),
    ("serve", ["--host", "0.0.0.0"], "in clear"),  # noqa: S104
    ("ui", ["--host", "0.0.0.0"], "in clear"),  # noqa: S104
])  # fmt: skip
def test_what_cannot_be_served_safely_is_refused_before_anything_is_opened(
    project: Path, command: str, options: list[str], told: str
) -> None:
    ran = subprocess.run(
        [COMMAND, command, "--port", "0", *options], cwd=project, env=ENV, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert told in ran.stderr and ran.stderr.startswith("ConfigError"), ran.stderr


def test_behind_a_proxy_plain_http_is_spoken_beyond_this_machine(project: Path) -> None:
    with served(project, "--host", "0.0.0.0", "--behind-proxy", env=ENV) as (address, _):  # noqa: S104
        where = f"http://127.0.0.1:{urlsplit(address).port}/healthz"
        assert requests.get(where, timeout=30).json()["live"]


def test_a_client_that_stays_silent_over_tls_does_not_hold_up_the_end(project: Path) -> None:
    """TLS takes leave in both directions; who does not answer is not waited for."""
    trusted = ssl.create_default_context(cafile=str(project / "cert.pem"))
    with served(project, "--certfile", "cert.pem", "--keyfile", "key.pem", "--grace", "60") as (address, process):
        where = urlsplit(address)
        with (
            socket.create_connection((str(where.hostname), where.port or 0), timeout=20) as raw,
            trusted.wrap_socket(raw, server_hostname="127.0.0.1") as silent,
        ):
            silent.sendall(b"GET /healthz/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert silent.recv(100).startswith(b"HTTP/1.1 200 ")
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
