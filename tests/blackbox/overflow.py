#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""overflow.py MANY: so many connections to a shard whose completion queue holds fewer; see overflow_test.sh.

In step: each producer waits until its last event is stored, and a batch stores all of theirs, so all are answered in
one turn, and all speak again while that turn's completions still overflow."""
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
import urllib.request

from kit import PATIENCE, case, database, finish, holds, metrics, same, until, until_one

MANY = int(sys.argv[1])
EACH, SAYINGS = 8, 20
DOORS = 2  # TCP and HTTP
HTTP, TCP = (os.environ[name].rsplit(":", 1) for name in ("HTTP", "TCP"))


def received():
    """Requests for bytes; how often the queue overflowed."""
    now = metrics()
    same(now["ringmain_receive_starved_total"], 0, "the buffers last, or else they'd end receives too:")
    return now['ringmain_ring_armed_total{request="receive"}'], now["ringmain_ring_overflows_total"]


class Client:
    """A socket that says what it has to, and hands on each whole message that it hears."""

    def __init__(self, number, door):
        self.number, self.heard, self.rest = number, 0, b""
        self.socket = socket.create_connection((door[0], int(door[1])), timeout=PATIENCE)

    def say(self, data):
        same(self.socket.send(data), len(data))

    def hear(self):
        data = self.socket.recv(65536)
        holds(data, self.number, "the connection ended")
        *whole, self.rest = self.split(self.rest + data)
        for message in whole:
            self.told(message)


class Producer(Client):
    """Says its next event when the one before is stored."""

    def __init__(self, number):
        super().__init__(number, TCP)
        self.say(json.dumps({"hello": {"ack": "stored", "producer": "over-%d" % number}}).encode() + b"\n")

    def split(self, data):
        return data.split(b"\n")

    def told(self, line):
        answer = json.loads(line)
        if "welcome" not in answer:
            same(answer, {"ack": self.heard}, self.number)
        if self.heard < EACH:
            self.heard += 1
            self.say(b'{"type":"over","data":{"producer":%d,"n":%d}}\n' % (self.number, self.heard))
        else:
            self.heard += 1

    def done(self):
        return self.heard > EACH


class Subscriber(Client):
    """Hears 1, 2, 3 … in its room."""

    def __init__(self, number):
        super().__init__(number, HTTP)
        self.say(b"GET /ws/live?room=over HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
        self.upgraded, self.ended, self.last = False, False, SAYINGS

    def split(self, data):
        parts = []
        if not self.upgraded and b"\r\n\r\n" in data:
            same(data[:12], b"HTTP/1.1 101")
            self.upgraded, data = True, data.split(b"\r\n\r\n", 1)[1]
        while self.upgraded and len(data) > 1:
            holds(data[0] in (0x81, 0x88) and data[1] < 126, data[:4])
            if len(data) < 2 + data[1]:
                break
            if data[0] == 0x88:
                same(data[2:4], b"\x03\xe9", "the close code, 1001:")
                self.ended = True
            else:
                parts.append(data[2:2 + data[1]])
            data = data[2 + data[1]:]
        return parts + [data]

    def told(self, message):
        same(json.loads(message)["data"], self.heard + 1, self.number)
        self.heard += 1

    def done(self):
        return self.heard >= self.last


class Newcomer(Subscriber):
    """Hears what is said from some time on."""

    def told(self, message):
        number = json.loads(message)["data"]
        holds(self.heard in (0, number - 1), self.number, self.heard, number)
        self.heard = number


def hear_until(clients, condition):
    """Whoever has something to hear hears it, until the condition holds for all."""
    waiting = {client for client in clients if not condition(client)}
    deadline = time.monotonic() + 2 * PATIENCE
    with selectors.DefaultSelector() as selector:
        for client in waiting:
            selector.register(client.socket, selectors.EVENT_READ, client)
        while waiting:
            holds(time.monotonic() < deadline, len(waiting), "still wait")
            for key, _ in selector.select(1):
                key.data.hear()
                if condition(key.data):
                    waiting.discard(key.data)
                    selector.unregister(key.fileobj)


def publish(data):
    body = json.dumps({"to": {"room": "over"}, "event": "e", "data": data}).encode()
    request = urllib.request.Request("http://%s:%s/api/publish" % tuple(HTTP), body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        same(answer.status, 202)


def reset(client):
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.socket.close()


def connections(number):
    until(number, lambda: metrics()["ringmain_connections"], "open connections:")


def producers():
    crowd = [Producer(number) for number in range(MANY)]
    with case("overflow: %d producers are told of each event, in order" % MANY):
        hear_until(crowd, Producer.done)
        until_one(MANY * EACH, "select count(*) from events where type = 'over'")
    with case("overflow: the queue did overflow, receives ended by it, and were armed again"):
        armed, overflows = received()
        print("# %d overflows; %d receives ended and were armed again" % (overflows, armed - MANY))
        holds(overflows > 0, overflows)
        holds(armed > MANY, armed)
    with case("overflow: stored once each, in the order of each producer"):
        same(database.one("""select count(*) from (select distinct data->>'producer', data->>'n' from events
                             where type = 'over') as different"""), MANY * EACH)
        same(database.one("""select count(*) from (select received_at, lag(received_at) over (partition by
                             data->>'producer' order by (data->>'n')::int) as before from events where type = 'over')
                             as pairs where before > received_at"""), 0)
    for producer in crowd:
        producer.socket.close()
    connections(0)


def subscribers():
    crowd = [Subscriber(number) for number in range(MANY)]
    _, before = received()
    with case("overflow: %d subscribers hear all that is said, in order" % MANY):
        hear_until(crowd, lambda client: client.upgraded)
        until(MANY, lambda: metrics()["ringmain_live_subscribers"])
        for number in range(SAYINGS):
            publish(number + 1)
        hear_until(crowd, Subscriber.done)
    with case("overflow: the queue did overflow"):
        holds(received()[1] > before, before)
    with case("overflow: half of them are gone in the middle of it, and as many come; the others hear on"):
        gone, stay, come = crowd[::2], crowd[1::2], []
        for number in range(SAYINGS):
            publish(SAYINGS + number + 1)
            for client in gone[number * MANY // 2 // SAYINGS:(number + 1) * MANY // 2 // SAYINGS]:
                reset(client)
                come.append(Newcomer(client.number))
        for client in stay:
            client.last += SAYINGS
        hear_until(stay, Subscriber.done)
        hear_until(come, lambda client: client.upgraded)
        stay += come
        connections(len(stay))
    with case("overflow: accepts ended by it too, and were armed again"):
        now = metrics()
        same(now["ringmain_accept_errors_total"], 0)
        armed = now['ringmain_ring_armed_total{request="accept"}']
        print("# %d accepts ended and were armed again" % (armed - DOORS))
        holds(armed > DOORS, armed)
    with case("overflow: it stops while they are there, and tells each"):
        os.kill(int(os.environ["PID"]), signal.SIGTERM)
        hear_until(stay, lambda client: client.ended)


resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
producers()
subscribers()
finish()
