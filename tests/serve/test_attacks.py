"""What strangers on the network try: each is refused, and the service goes on answering others."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time

import pytest
from tiny_models import png, portrait
from tiny_service import running

from lrface.cli.app import run
from lrface.errors import LrfaceError
from lrface.serve.access import Access
from lrface.serve.guard import CONTENT_SECURITY_POLICY

QUICK = {"header_s": 0.5, "body_s": 1.0, "body_bytes": 200_000, "picture_bytes": 100_000, "pixels": 1_000_000,
         "photos": 5, "streams": 2}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory, models):
    """A service that is quick to lose its patience."""
    with running(tmp_path_factory.mktemp("service"), models, limits=QUICK) as started:
        assert started.enrol("Ada", png(portrait("Ada"))).status_code == 201
        yield started


def raw(server, data, wait_s=20.0):
    """What is answered to bytes, until the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait_s) as connection:
        connection.sendall(data)
        got = b""
        while part := connection.recv(65536):
            got += part
    return got


def answers(server):
    return server.http.get("/v1/people/Ada").status_code == 200


def test_a_slow_header_is_not_waited_for(server):
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(50)]
    began = time.monotonic()
    try:
        for each in slow:
            each.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nX-a: ")
        assert answers(server)
        assert all(each.recv(100) == b"" for each in slow)
    finally:
        for each in slow:
            each.close()
    assert time.monotonic() - began < 15


def test_nor_is_the_second_request_of_a_connection(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in connection.recv(65536)
        connection.sendall(b"GET /v1/hea")
        got = b""
        while part := connection.recv(65536):
            got += part
    assert b"200 OK" not in got


def test_a_slow_body_is_not_waited_for(server):
    head = (
        f"POST /v1/identify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\nContent-Length: 1000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    assert b" 408 " in raw(server, head.encode()).split(b"\r\n")[0]
    assert answers(server)


def test_a_huge_body_is_refused_before_it_is_sent(server):
    head = (
        f"POST /v1/identify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
        "Content-Length: 99999999999\r\nContent-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n\r\n"
    )
    assert b" 413 " in raw(server, head.encode()).split(b"\r\n")[0]


def test_a_huge_body_without_a_length_is_refused_while_it_is_sent(server):
    def body():
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 10_000

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert server.http.post("/v1/identify", content=body(), headers=headers).status_code == 413
    assert answers(server)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(server):
    import cv2
    import numpy as np

    bomb = cv2.imencode(".png", np.zeros((4000, 4000), np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    for answer in (server.http.post("/v1/identify", files={"picture": bomb}), server.enrol("Bomb", bomb)):
        assert answer.status_code == 422
        assert "megapixels" in answer.json()["detail"]


def test_a_picture_of_too_many_bytes_and_too_many_pictures_are_refused(server):
    assert server.http.post("/v1/identify", files={"picture": b"x" * 150_000}).status_code == 413
    assert server.enrol("Many", *[b"x"] * 6).status_code == 400
    assert server.http.post("/v1/identify", files={"picture": b"x"}, data={"a" * 100_000: "x"}).status_code in (
        400,
        413,
    )


PATHS = [
    "/../../etc/passwd", "/static/../../../etc/passwd", "/static/..%2f..%2f..%2fetc/passwd", "/static/%2e%2e/%2e%2e/x",
    "/static//etc/passwd", "/static/..\\..\\x", "/v1/people/..%2f..%2faccess.json",
    "/v1/cameras/..%2f..%2fx/snapshot.jpg",
    "/v1/tracks/..%2f1/crop.jpg", "/v1/people/%00", "/v1/people/%ff%fe", "//etc/passwd", "/login/../v1/audit",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_lead_nowhere_else(server, path):
    for token in (f"Authorization: Bearer {server.token}\r\n", ""):
        got = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n{token}Connection: close\r\n\r\n".encode())
        assert got.split(b" ")[1] in (b"400", b"401", b"404", b"422", b"303"), got
        assert b"root:" not in got
        assert b"scrypt" not in got


def test_no_token_a_wrong_token_and_another_scheme(server):
    with server.anonymous() as client:
        for path in (
            "/v1/people",
            "/v1/events",
            "/v1/cameras",
            "/v1/metrics",
            "/v1/openapi.json",
            "/v1/audit",
            "/v1/x",
        ):
            answer = client.get(path)
            assert answer.status_code == 401
            assert "Bearer" in answer.headers["www-authenticate"]
        page = client.get("/people?x=1")
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Fpeople%3Fx%3D1")
        assert client.post("/people").status_code == 401
        assert client.get("/v1/health").status_code == 200
        assert client.get("/v1/ready").status_code == 200
        basic = client.get("/v1/people", headers={"Authorization": "Basic YWRtaW46YWRtaW4="})
        assert basic.status_code == 401


def test_wrong_tokens_are_slowed_down_and_right_ones_are_not(server):
    wrong = server.token[:-4] + "AAAA"
    with server.anonymous() as client:
        codes = [client.get("/v1/people", headers={"Authorization": f"Bearer {wrong}"}).status_code for _ in range(12)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert answers(server)


def test_secrets_are_kept_as_hashes_in_a_file_of_the_owner(server):
    path = server.folder / "data" / "access.json"
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (server.folder / "data").stat().st_mode & 0o777 == 0o700
    assert (server.folder / "data" / "service.db").stat().st_mode & 0o777 == 0o600
    assert server.password not in text
    assert max(server.token.split("_"), key=len) not in text  # the secret may have "_" in it
    assert text.count("scrypt$") == 2


def test_pages_may_run_only_the_services_own_scripts(server):
    with server.anonymous() as client:
        for path in ("/login", "/v1/health", "/nothing"):
            headers = client.get(path).headers
            assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert headers["x-content-type-options"] == "nosniff"
            assert "server" not in headers
    assert "'unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY


def test_request_ids_are_kept_if_they_are_harmless(server):
    kept = server.http.get("/v1/health", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"]
    made = server.http.get("/v1/health", headers={"X-Request-ID": "<script>"}).headers["x-request-id"]
    assert kept == "abc-1"
    assert len(made) == 16


NOT_LISTENING = {
    "beyond this machine without TLS": (("--host", "0.0.0.0"), "--cert", "--insecure"),
    "a name that is not this machine": (("--host", "camera.example"), "--cert"),
    "half of TLS": (("--cert", "x.pem"), "--key"),
    "no such certificate": (("--cert", "/no/x.pem", "--key", "/no/y.pem"), "/no/x.pem"),
}


@pytest.mark.parametrize("case", NOT_LISTENING)
def test_it_does_not_listen(tmp_path, capsys, case):
    options, *words = NOT_LISTENING[case]
    assert run(["serve", "--gallery", str(tmp_path / "a.gallery"), *options]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    for word in words:
        assert word in last


def test_a_port_that_is_in_use_is_an_error(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert run(["serve", "--gallery", str(tmp_path / "a.gallery"), "--port", port]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert port in last
    assert "--port" in last


def test_an_access_file_that_others_can_read_is_refused(tmp_path):
    (tmp_path / "access.json").write_text('{"accounts": []}')
    (tmp_path / "access.json").chmod(0o644)
    with pytest.raises(LrfaceError, match="chmod 600"):
        Access(tmp_path / "access.json")


def test_tls_by_certificate_files(tmp_path, models):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(cert), "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs openssl to make a certificate")
    with running(tmp_path / "service", models, cert=str(cert), key=str(key), host="127.0.0.1") as server:
        assert server.url.startswith("https://")
        checked = ssl.create_default_context(cafile=str(cert))
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain,
            checked.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(b"GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b"strict-transport-security" in connection.recv(65536)
        bearer = {"Authorization": f"Bearer {server.token}"}
        secrets = {"name": "admin", "password": server.password}
        login = server.http.post("/login", data=secrets, headers=bearer)
        cookie = login.headers["set-cookie"]
        assert cookie.startswith("__Host-lrface_session=")
        assert "Secure" in cookie
