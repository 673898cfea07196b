"""The watchdog's wire: lines, limits, secrets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hvd_train.watchdog.proof import Hello, cleaned, is_answer
from hvd_train.watchdog.wire import MOST_PENDING, Wire, connect, ipv4_addresses, listen


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    ours, theirs = socket.socketpair()
    wire = Wire(ours)
    yield wire, theirs
    wire.close()
    theirs.close()


def test_messages_arrive_whole_whatever_the_pieces(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b'{"a": 1}\n{"b"')
    assert wire.receive() == [{"a": 1}]
    peer.sendall(b": 2}\n")
    assert wire.receive() == [{"b": 2}]
    assert wire.receive() == []
    assert not wire.closed


def test_last_words_are_heard_before_the_end(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.sendall(b'{"left": "finished"}\n')
    peer.close()
    assert wire.receive() == [{"left": "finished"}]
    assert wire.closed


@pytest.mark.parametrize(
    "line", [b"no json\n", b"[1]\n", b"\xff\n", b"[" * 4000 + b"\n", b"x" * 5000, b'{"a": "' + b"x" * 5000 + b'"}\n']
)
def test_nonsense_is_cut_off(pair: tuple[Wire, socket.socket], line: bytes) -> None:
    wire, peer = pair
    peer.sendall(b'{"a": 1}\n' + line)
    assert wire.receive() == [{"a": 1}]
    assert wire.closed


def test_a_peer_that_does_not_read_holds_nobody_up_and_later_reads_whole_lines(
    pair: tuple[Wire, socket.socket],
) -> None:
    wire, peer = pair
    began = time.monotonic()
    for number in range(20_000):
        wire.send({"n": number, "pad": "x" * 100})
    assert time.monotonic() - began < 5
    assert len(wire._outgoing) < MOST_PENDING + 200
    peer.settimeout(0.2)
    data = b""
    with contextlib.suppress(TimeoutError):
        while True:
            data += peer.recv(1_000_000)
            wire.flush()
    numbers = [json.loads(line)["n"] for line in data.splitlines()]
    assert numbers == list(range(len(numbers)))


def test_a_peer_that_is_gone_raises_nothing(pair: tuple[Wire, socket.socket]) -> None:
    wire, peer = pair
    peer.close()
    for _ in range(3):
        wire.send({"a": 1})
    assert wire.receive() == []
    assert wire.closed


def test_addresses_of_this_host_end_with_loopback() -> None:
    addresses = ipv4_addresses()
    assert addresses[-1].startswith("127.")
    assert len(set(addresses)) == len(addresses)


def answering(listener: socket.socket, reply: Callable[[bytes], bytes], challenge: bytes) -> threading.Thread:
    """Somebody at the port: sends a challenge, and `reply` to what comes."""

    def serve() -> None:
        listener.settimeout(5)
        connection, _ = listener.accept()
        with connection:
            connection.sendall(challenge)
            connection.sendall(reply(connection.recv(4096)))
            time.sleep(0.2)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


CHALLENGE = "r" * 32
GREETING = json.dumps({"challenge": CHALLENGE}).encode() + b"\n"


def test_connect_takes_the_one_with_the_right_answer_and_keeps_what_came_with_it() -> None:
    listener, address = listen("h0", one_host=True)
    secret = address["secret"]

    def reply(said: bytes) -> bytes:
        assert secret.encode() not in said
        hello = Hello.from_message(json.loads(said), CHALLENGE, secret, size=2)
        assert hello is not None
        assert (hello.rank, hello.host) == (1, "h0")
        return json.dumps(hello.answer(secret)).encode() + b'\n{"next": 1}\n'

    with listener:
        thread = answering(listener, reply, GREETING)
        wire = connect(address, rank=1, host="h0", timeout_s=5)
        assert wire.receive() == [{"next": 1}]
        wire.close()
        thread.join(5)


def echo(said: bytes) -> bytes:
    return said


@pytest.mark.parametrize(
    ("greeting", "reply"),
    [
        (GREETING, lambda _: b'{"proof": "guessed"}\n'),
        (GREETING, lambda _: b'{"answer": "guessed"}\n'),
        (GREETING, echo),  # the member's own proof is none of a root's
        (b'{"challenge": "short"}\n', echo),
        (b'{"challenge": 5}\n', echo),
        (b'{"hello": 1}\n', echo),
    ],
)
def test_connect_does_not_believe_a_stranger_who_learns_no_secret(
    greeting: bytes, reply: Callable[[bytes], bytes]
) -> None:
    listener, address = listen("h0", one_host=True)
    heard: list[bytes] = []
    with listener:
        thread = answering(listener, lambda said: reply(heard.append(said) or said), greeting)  # type: ignore[func-returns-value]
        with pytest.raises(OSError, match=r"127\.0\.0\.1:"):
            connect(address, rank=1, host="h0", timeout_s=5, give_up=iter([False, True]).__next__)  # one attempt
        thread.join(5)
    assert address["secret"].encode() not in b"".join(heard)


def test_one_host_listens_on_loopback_alone_and_several_everywhere() -> None:
    for one_host, expected, candidates in ((True, "127.0.0.1", ["127.0.0.1"]), (False, "0.0.0.0", ipv4_addresses())):
        listener, address = listen("h0", one_host=one_host)
        with listener:
            assert listener.getsockname()[0] == expected
        assert address["candidates"] == candidates


def test_a_proof_is_of_its_side_its_connection_and_its_rank() -> None:
    secret, size = "s" * 64, 3
    hello = Hello.to(CHALLENGE, rank=1, host="h1")
    assert hello is not None
    said = hello.to_message(secret)
    assert Hello.from_message(said, CHALLENGE, secret, size=size) == hello
    assert is_answer(hello.answer(secret), hello, secret)
    assert not is_answer(said, hello, secret)
    again = Hello.to(CHALLENGE, rank=1, host="h1")
    assert again is not None
    assert not is_answer(hello.answer(secret), again, secret)  # an answer seen before
    for changed in (
        {"rank": 2},
        {"rank": 0},
        {"rank": 3},
        {"rank": True},
        {"host": "h2"},
        {"challenge": "m" * 32},
        {"challenge": None},
        {"proof": 5},
        {"proof": "\ud800"},
    ):
        assert Hello.from_message({**said, **changed}, CHALLENGE, secret, size=size) is None, changed
    assert Hello.from_message(said, "q" * 32, secret, size=size) is None  # a proof seen before
    assert Hello.from_message(said, CHALLENGE, "t" * 64, size=size) is None


def test_connect_says_where_it_tried_and_can_be_called_off() -> None:
    listener, address = listen("h0")
    listener.close()
    began = time.monotonic()
    with pytest.raises(OSError, match=rf":{address['port']}: .*refused"):
        connect(address, rank=1, host="h1", timeout_s=0.3)
    with pytest.raises(OSError, match="no address"):
        connect({**address, "candidates": []}, rank=1, host="h1", timeout_s=60, give_up=lambda: True)
    assert time.monotonic() - began < 3


def test_text_of_a_peer_is_cleaned() -> None:
    assert cleaned("a\x1b]0;x\x07\r\n\u202eb", 100) == "a?]0;x????b"
    assert cleaned("é" * 600, 500) == "é" * 499 + "…"
    assert cleaned("", 5) == ""
