#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""limits.py descriptors | slow: see limits_test.sh. Each slow peer sends a byte every DRIP_S, and nobody else notices."""
import base64
import http.client
import os
import select
import socket
import sys
import time

from kit import case, finish, holds, metrics, same, until

HTTP, TCP = (os.environ[name].rsplit(":", 1) for name in ("HTTP", "TCP"))
PID = os.environ["PID"]
DRIP_S, EACH = 0.05, 40
DOORS = 2  # TCP and HTTP, on one shard


def connect(door):
    return socket.create_connection((door[0], int(door[1])), timeout=30)


def health():
    """How long a request on a connection of its own takes, in s."""
    began = time.monotonic()
    client = http.client.HTTPConnection(HTTP[0], int(HTTP[1]), timeout=30)
    client.request("POST", "/events", '{"type":"t"}', {"Content-Type": "application/json"})
    answer = client.getresponse()
    answer.read()
    client.close()
    same(answer.status, 202)
    return time.monotonic() - began


def memory():
    with open("/proc/%s/status" % PID, encoding="ascii") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith(("RssAnon", "RssShmem")))


def answered(connections, seconds):
    """Those that have something to read within so many seconds."""
    end, found = time.monotonic() + seconds, []
    while time.monotonic() < end and len(found) < len(connections):
        found = select.select(connections, [], [], 0)[0]
        time.sleep(0.02)
    return found


def accepts_ended():
    """How many accepts have ended and were not asked for again."""
    now = metrics()
    return DOORS + now["ringmain_accept_errors_total"] - now['ringmain_ring_armed_total{request="accept"}']


def descriptors():
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with case("descriptors: with none left the first ones are served, the others wait"):
        crowd = [connect(HTTP) for _ in range(100)]
        for one in crowd:
            one.sendall(ask)
        served = answered(crowd, 1.5)
        holds(10 <= len(served) < 100, len(served))
    with case("descriptors: as soon as there are some the others are served"):
        while len(crowd) > 0:
            holds(len(served) > 0, len(crowd))
            for one in served:
                crowd.remove(one)
                one.close()
            served = answered(crowd, 5)[:10]
    with case("descriptors: the accept had ended, and was asked for again"):
        holds(metrics()["ringmain_accept_errors_total"] > 0, metrics())
        until(0, accepts_ended, "still to be asked for again:")
    with case("descriptors: and all is as before"):
        holds(health() < 2)


def drip(first, rest, door, limit_s, greet=None):
    """EACH peers that begin well and go on by drops; when the last of them was closed, in s."""
    crowd = [connect(door) for _ in range(EACH)]
    for one in crowd:
        if greet:
            one.sendall(greet)
            one.recv(4096)
            time.sleep(0.001)
        one.sendall(first)
    began, at, worst = time.monotonic(), 0, 0
    while crowd and time.monotonic() - began < limit_s + 5:
        worst = max(worst, health())
        for one in list(crowd):
            try:
                one.sendall(rest[at % len(rest):at % len(rest) + 1])
                if select.select([one], [], [], 0)[0] and not one.recv(65536):
                    raise ConnectionError
            except OSError:
                crowd.remove(one)
                one.close()
        at += 1
        time.sleep(DRIP_S)
    took = time.monotonic() - began
    for one in crowd:
        one.close()
    same(len(crowd), 0, "still open after %.1f s:" % took)
    holds(worst < 1, worst)
    holds(took < limit_s + 2, took)


def unread(door, piece, least):
    """Sends `piece` again and again without reading until it is held back or closed: how many bytes went out."""
    with connect(door) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(1)
        sent = 0
        try:
            while sent < least:
                sent += one.send(piece)
        except (socket.timeout, ConnectionError):
            pass
        return sent, health()


def pile_up(greet, head):
    """Many begin what is nearly a megabyte and do not end it: how much memory that took."""
    before, piece, crowd = memory(), b'[{"data":"' + b"x" * 900000, []
    for _ in range(150):
        one = connect(HTTP)
        crowd.append(one)
        try:
            if greet:
                one.sendall(greet)
                one.recv(4096)
            one.sendall(head)
            one.sendall(piece)
        except OSError:
            pass
    took = memory() - before
    took_s = health()  # whoever sends little still may
    for one in crowd:
        one.close()
    holds(took < 64 << 20, took)
    holds(took_s < 1, took_s)


def slow():
    key = base64.b64encode(os.urandom(16))
    upgrade = (b"GET /events/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               b"Sec-WebSocket-Key: " + key + b"\r\nSec-WebSocket-Version: 13\r\n\r\n")
    head = b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with case("slow: an HTTP header by drops is cut off after limits.header_ms"):
        drip(head + b"X: ", b"x" * 64, HTTP, 0.5)
    with case("slow: a body by drops after limits.body_ms"):
        drip(head + b"Content-Length: 1000\r\n\r\n[", b" " * 64, HTTP, 1)
    with case("slow: a chunked body too"):
        drip(head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", HTTP, 1)
    with case("slow: a WebSocket handshake after limits.header_ms"):
        drip(upgrade[:-2] + b"X: ", b"x" * 64, HTTP, 0.5)
    with case("slow: a hello after limits.header_ms"):
        drip(b'{"hello":{"producer":"', b"x" * 64, TCP, 0.5)
    with case("slow: a frame after limits.body_ms"):
        drip(b"\x81\xfe\x27\x10\0\0\0\0", b" " * 64, HTTP, 1, greet=upgrade)
    with case("slow: messages that do not end take no more than limits.connection_memory together"):
        pile_up(upgrade, b"\x82\xff" + (1000000).to_bytes(8, "big") + b"\0\0\0\0")
    with case("slow: nor do bodies"):
        pile_up(None, head + b"Content-Length: 1000000\r\n\r\n")
    before = memory()
    with case("slow: who reads no answers is held back or closed, and memory is bounded"):
        for door, piece in ((HTTP, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100), (TCP, b'{"hello":{}}\nbad\n' + b"bad\n" * 20000)):
            sent, took = unread(door, piece, 1 << 27)
            holds(sent < 1 << 27, sent)
            holds(took < 1, took)
        holds(memory() < before + (48 << 20), memory(), before)


{"descriptors": descriptors, "slow": slow}[sys.argv[1]]()
finish()
