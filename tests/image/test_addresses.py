"""Pictures from web addresses: a real server, and nothing asked of the own network."""

import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distill.errors import PictureError
from distill.image import addresses
from distill.image.addresses import fetch

OUTSIDE = "127.0.0.2"  # stands for the internet in these tests: another number of this computer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["host"], self.headers["user-agent"]))
        port = self.server.server_port
        redirects = {
            "/in": f"http://127.0.0.1:{port}/picture",
            "/out": f"http://{OUTSIDE}:{port}/picture",
            "/beside": "picture",
            "/round": "/round",
            "/file": "file:///etc/passwd",
        }
        if self.path in redirects:
            self.send_response(302)
            self.send_header("Location", redirects[self.path])
        else:
            self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        self.wfile.write(b"a picture" if self.path == "/picture" else b"x" * 2**20 * 3)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    made = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
    made.asked = []
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def internet(monkeypatch, server):
    """Have one number of this computer count as the internet, and return its address."""
    monkeypatch.setattr(addresses, "_is_global", lambda number: number == OUTSIDE)
    return f"http://{OUTSIDE}:{server.server_port}"


def test_an_address_outside_is_read(server, internet):
    assert fetch(f"{internet}/picture") == b"a picture"
    assert fetch(f" {internet}/out\n", user_agent="mine") == b"a picture"
    assert fetch(f"{internet}/beside") == b"a picture"
    assert server.asked[0][1] == f"{OUTSIDE}:{server.server_port}"
    assert server.asked[0][2].startswith("sd-webui-distill/")
    assert server.asked[1][2] == "mine"


def test_a_redirect_into_the_own_network_is_refused(server, internet):
    with pytest.raises(PictureError, match="own network"):
        fetch(f"{internet}/in")
    assert [path for path, *_ in server.asked] == ["/in"]
    assert fetch(f"{internet}/in", forbid_local=False) == b"a picture"


def test_the_number_that_was_checked_is_the_one_that_is_asked(server, internet, monkeypatch):
    resolve, answers = socket.getaddrinfo, [OUTSIDE, "127.0.0.1"]

    def rebinding(host, *rest, **more):
        return resolve(answers.pop(0) if host == "rebinding.test" else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    assert fetch(f"http://rebinding.test:{server.server_port}/picture") == b"a picture"
    assert answers == ["127.0.0.1"]  # never asked for a second time
    assert server.asked == [("/picture", f"rebinding.test:{server.server_port}", server.asked[0][2])]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "224.0.0.1",
        "2130706433",
        "0x7f000001",
        "127.1",
    ],
)
def test_own_networks_in_all_ways_to_write_them(server, host):
    with pytest.raises(PictureError, match=r"own network|no server|can't be read"):
        fetch(f"http://{host}:{server.server_port}/picture")
    assert server.asked == []


def test_numbers_of_the_internet_are_no_own_network():
    assert addresses._is_global("93.184.216.34")
    assert addresses._is_global("2606:2800:220:1:248:1893:25c8:1946")


@pytest.mark.parametrize(
    ("path", "said"),
    [("/none", "answered with 404"), ("/round", "without end"), ("/file", "not a web address"), ("/big", "2 MiB")],
)
def test_answers_that_are_no_picture(internet, path, said):
    with pytest.raises(PictureError, match=said):
        fetch(internet + path, max_mib=2)


@pytest.mark.parametrize("url", ["ftp://example.org/x", "http://", "picture.png", "http://[", "", "http://a\x00b/"])
def test_what_is_no_address(url):
    with pytest.raises(PictureError):
        fetch(url)


def test_one_that_never_answers(monkeypatch):
    monkeypatch.setattr(addresses, "TIMEOUT_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(PictureError, match="within 1 s"):
            fetch(f"http://127.0.0.1:{silent.getsockname()[1]}/", forbid_local=False)


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes a certificate with openssl")
def test_https_checks_the_certificate_of_the_name(tmp_path, internet, monkeypatch):
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    names = ["-subj", "/CN=named.test", "-addext", "subjectAltName=DNS:named.test"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, *names]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    resolve = socket.getaddrinfo

    def outside(host, *rest, **more):
        return resolve(OUTSIDE if str(host).endswith(".test") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", outside)
    server = ThreadingHTTPServer((OUTSIDE, 0), Handler)
    server.asked = []
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with pytest.raises(PictureError, match=r"self-signed|self signed"):
            fetch(f"https://named.test:{server.server_port}/picture")
        monkeypatch.setattr("certifi.where", lambda: certificate)
        assert fetch(f"https://named.test:{server.server_port}/picture") == b"a picture"
        with pytest.raises(PictureError, match=r"not valid for 'other\.test'"):
            fetch(f"https://other.test:{server.server_port}/picture")
    finally:
        server.shutdown()
        server.server_close()
