"""The client for token servers goes nowhere else, waits for nobody, and repeats nothing of what it sent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping

import pytest

from busbar.config.reach import Reach
from busbar.credentials.minting import MintRefused
from busbar.credentials.token_http import ANSWER_BYTES_MAX, TokenHttp
from busbar.protocols.failures import FailureClass

from .token_server import LOOPBACK, Reply, TokenServer

URL = "https://tokens.example/token"


def refusal(client: TokenHttp, url: str = URL, form: Mapping[str, str] | None = None) -> MintRefused:
    with pytest.raises(MintRefused) as refused:
        client.post_form(url, form or {"secret": "hunter2"})
    assert "hunter2" not in str(refused.value)
    return refused.value


def test_a_form_is_posted_by_tls_to_the_name_in_the_url(server: TokenServer) -> None:
    server.faults.append(Reply(200, b'{"a": 1}', {"x-more": "yes"}))
    answer = server.client().post_form(f"{URL}?v=1", {"a b": "c&d=é"})
    assert (answer.status, answer.json(), answer.headers["x-more"]) == (200, {"a": 1}, "yes")
    (asked,) = server.asked
    assert (asked.method, asked.host, asked.path, asked.query) == ("POST", "tokens.example", "/token", {"v": "1"})
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (asked.body, asked.form) == (b"a+b=c%26d%3D%C3%A9", {"a b": "c&d=é"})
    assert server.names == ["tokens.example"]


def test_a_certificate_for_another_name_is_no_answer(server: TokenServer) -> None:
    refused = refusal(server.client(), "https://other.example/token")
    assert (str(refused), refused.kind) == (
        "no answer from other.example: SSLCertVerificationError",
        FailureClass.NETWORK,
    )
    assert server.asked == []


def test_an_authority_that_nobody_knows_is_no_answer(server: TokenServer) -> None:
    client = TokenHttp(
        Reach([LOOPBACK]),
        resolve=lambda _host, _port: [(LOOPBACK, server.tls_port)],
        context=ssl.create_default_context(),
        proxies=lambda _url: None,
    )
    assert refusal(client).kind is FailureClass.NETWORK
    assert server.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["http://169.254.169.254/latest/meta-data/", "https://tokens.example/else"])
def test_a_redirect_is_not_followed(server: TokenServer, status: int, place: str) -> None:
    server.faults.append(Reply(status, b"", {"location": place}))
    assert server.client().post_form(URL, {}).status == status
    assert len(server.asked) == 1


def test_a_name_that_leads_to_this_side_of_the_firewall_is_not_dialled(server: TokenServer) -> None:
    refused = refusal(server.client("10.0.0.1"))
    assert refused.kind is FailureClass.AUTH
    assert "tokens.example" in str(refused)
    assert "127.0.0.1 is private" in str(refused)
    assert server.names == []


def test_one_bad_address_among_good_ones_is_enough() -> None:
    client = TokenHttp(
        Reach(),
        resolve=lambda _host, port: [("1.1.1.1", port), ("169.254.169.254", port)],
        proxies=lambda _url: None,
    )
    refused = refusal(client)
    assert (refused.kind, "169.254.169.254" in str(refused)) == (FailureClass.AUTH, True)


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/api/token",
        "https://169.254.169.254/",
        "http://metadata.google.internal/computeMetadata/v1/",
        "http://0xA9FEA9FE/",
        "http://[::ffff:169.254.169.254]/",
        "http://tokens.example/token",
        "https://user:hunter2@tokens.example/",
        "ftp://tokens.example/",
        "https://[::1",
    ],
)
def test_where_a_url_may_never_lead_it_does_not(url: str) -> None:
    dialled: list[str] = []

    def resolve(host: str, port: int) -> list[tuple[str, int]]:
        dialled.append(host)
        return [("127.0.0.1", port)]

    refused = refusal(TokenHttp(Reach(), resolve=resolve, proxies=lambda _url: None), url)
    assert (refused.kind, dialled) == (FailureClass.AUTH, [])


def test_a_name_that_nobody_knows_is_a_matter_of_the_network() -> None:
    def resolve(_host: str, _port: int) -> list[tuple[str, int]]:
        raise socket.gaierror(-2, "unknown")

    refused = refusal(TokenHttp(Reach(), resolve=resolve, proxies=lambda _url: None))
    assert (str(refused), refused.kind) == ("no answer from tokens.example: gaierror", FailureClass.NETWORK)


def test_the_next_address_is_tried_when_one_refuses(server: TokenServer) -> None:
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))  # bound, not listening: refused at once
        client = TokenHttp(
            Reach([LOOPBACK]),
            resolve=lambda _host, _port: [(LOOPBACK, closed.getsockname()[1]), (LOOPBACK, server.port)],
            proxies=lambda _url: None,
        )
        assert client.post_form("http://localhost/nothing", {}).status == 404


@pytest.mark.parametrize("reply", [Reply(200, b"", late=True), Reply(200, b"", dripping=True)], ids=["late", "drip"])
def test_who_is_slow_is_not_waited_for(server: TokenServer, reply: Reply) -> None:
    """Not even for one byte after the other, each in time."""
    server.faults.append(reply)
    refused = refusal(server.client(timeout_secs=0.2))
    assert (str(refused), refused.kind) == ("no answer from tokens.example: TimeoutError", FailureClass.TIMEOUT)


def test_a_huge_answer_is_not_read(server: TokenServer) -> None:
    server.faults.append(Reply(200, b"x" * ANSWER_BYTES_MAX))
    assert len(server.client().post_form(URL, {}).body) == ANSWER_BYTES_MAX
    server.faults.append(Reply(200, b"x" * (ANSWER_BYTES_MAX + 1)))
    assert refusal(server.client()).kind is FailureClass.SERVER_ERROR


def test_who_does_not_speak_http_is_no_answer() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"hunter2 hunter2\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        client = TokenHttp(Reach([LOOPBACK]), proxies=lambda _url: None)
        assert refusal(client, f"http://{LOOPBACK}:{listener.getsockname()[1]}/").kind is FailureClass.NETWORK


class Proxy:
    """Takes one CONNECT, and leads to `port`, or refuses."""

    def __init__(self, port: int, status: int = 200) -> None:
        self._port = port
        self._status = status
        self.head = b""

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        try:
            near, _ = self._listener.accept()
        except OSError:  # nobody came
            return
        with near:
            while not self.head.endswith(b"\r\n\r\n"):
                self.head += near.recv(1)
            near.sendall(f"HTTP/1.1 {self._status} Said\r\n\r\n".encode())
            if self._status != 200:
                return
            with socket.create_connection((LOOPBACK, self._port)) as far:
                back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                back.start()
                _pump(near, far)
                back.join(5)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(4096):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


def through(proxy: Proxy, server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> TokenHttp:
    monkeypatch.setenv("HTTPS_PROXY", f"http://us%40er:pass@{LOOPBACK}:{proxy.port}")
    monkeypatch.setenv("NO_PROXY", "direct.example")
    return TokenHttp(
        Reach(),
        resolve=lambda host, _port: pytest.fail(f"{host} was resolved"),
        context=ssl.create_default_context(cadata=server.authority),
    )


def test_the_environment_s_proxy_leads_to_token_servers(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It resolves the name; TLS goes through to the server, and checks it."""
    server.faults.append(Reply(200, b"{}"))
    with Proxy(server.tls_port) as proxy:
        assert through(proxy, server, monkeypatch).post_form(URL, {"a": "b"}).status == 200
    assert proxy.head == (
        b"CONNECT tokens.example:443 HTTP/1.1\r\nhost: tokens.example:443\r\n"
        b"proxy-authorization: Basic dXNAZXI6cGFzcw==\r\n\r\n"
    )
    assert server.names == ["tokens.example"]


def test_a_proxy_that_refuses_is_no_answer(server: TokenServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Proxy(server.tls_port, status=407) as proxy:
        refused = refusal(through(proxy, server, monkeypatch))
    assert (str(refused), refused.kind) == ("no answer from tokens.example: ConnectionError", FailureClass.NETWORK)


def test_what_the_rule_sees_in_a_url_no_proxy_is_asked_for(
    server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Proxy(server.tls_port) as proxy:
        assert refusal(through(proxy, server, monkeypatch), "https://169.254.169.254/").kind is FailureClass.AUTH
    assert proxy.head == b""
