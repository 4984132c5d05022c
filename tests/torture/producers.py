#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""producers.py TCP HTTP EACH RATE DIRECTORY: producers at every door that never give up.

EACH producers a door send a batch, wait until it is acknowledged at `spooled`, and send the next, RATE events a second
each at most. Whatever goes wrong, the same batch is sent again: nothing acknowledged is ever sent a second time, so a
row that is missing at the end was acknowledged and lost. An event carries its producer and its number, from 1 without
a gap. DIRECTORY/progress holds the acknowledged sum, for the terminal and to see that the door takes events. When
DIRECTORY/stop appears each finishes its last batch, and the ledger is printed, one producer a line:

  ledger DOOR PRODUCER ACKNOWLEDGED RECONNECTS DUPLICATES

DUPLICATES: how many of the resent were recognised. `wrong …` is a promise that a door broke.
"""
import base64
import http.client
import json
import os
import random
import socket
import sys
import threading
import time

TCP, HTTP = sys.argv[1:3]
EACH, RATE = map(int, sys.argv[3:5])
DIRECTORY = sys.argv[5]
BATCH, PATIENCE = 40, 60
wrong = []


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Refused(Exception):
    """Back-pressure: the same once more, later."""


class Producer(threading.Thread):
    door = ""

    def __init__(self, number):
        super().__init__(daemon=True)
        self.name = f"{self.door}-{number}"
        self.acknowledged = self.reconnects = self.duplicates = self.refused = 0
        self.last = time.monotonic()

    def batch(self):
        return [self.event(n) for n in range(self.acknowledged + 1, self.acknowledged + BATCH + 1)]

    def event(self, n):
        return {"type": "torture", "id": f"{self.name}-{n}", "data": {"producer": self.name, "n": n}}

    def settle(self, accepted, duplicates):
        if accepted + duplicates != BATCH:
            wrong.append(f"{self.name}: {accepted} + {duplicates} of {BATCH} after {self.acknowledged}")
        self.duplicates += duplicates
        self.advance(BATCH)

    def advance(self, count):
        self.acknowledged += count
        self.last = time.monotonic()

    def over(self):
        return os.path.exists(f"{DIRECTORY}/stop") and self.acknowledged > 0

    def run(self):
        while not self.over():
            try:
                self.open()
                while not self.over():
                    self.exchange()
                    time.sleep(random.uniform(0, 2 * BATCH / RATE))
            except Refused:
                self.refused += 1
                time.sleep(0.1)
            except (OSError, EOFError, http.client.HTTPException):
                self.reconnects += 1
                time.sleep(0.01)
            finally:
                self.close()
            if time.monotonic() - self.last > PATIENCE:
                wrong.append(f"{self.name}: no progress after {self.acknowledged}")
                return

    def connect(self, where):
        self.socket = socket.create_connection(address(where), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")

    def close(self):
        for name in ("reader", "socket"):
            if getattr(self, name, None):
                getattr(self, name).close()

    def line(self):
        line = self.reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        return json.loads(line)


class Tcp(Producer):
    """A session of its own each time: the ids are what makes resending harmless."""
    door = "tcp"
    told = 0  # duplicates on this connection

    def open(self):
        self.connect(TCP)
        self.hello({"ack": "spooled"})
        self.count = 0

    def hello(self, words):
        self.socket.sendall(json.dumps({"hello": words}).encode() + b"\n")
        return self.line()["welcome"]

    def exchange(self):
        self.socket.sendall(b"".join(json.dumps(event).encode() + b"\n" for event in self.batch()))
        self.count += BATCH
        while True:
            answer = self.line()
            if "ack" not in answer:
                wrong.append(f"{self.name}: {answer}")
                raise EOFError
            self.told = max(self.told, answer.get("duplicates", 0))
            if answer["ack"] >= self.count:
                break
        self.advance(BATCH)

    def close(self):
        self.duplicates += self.told
        self.told = 0
        super().close()


class Named(Tcp):
    """Events without ids: the producer's name and the count are all that there is."""
    door = "named"

    def event(self, n):
        return {"type": "torture", "data": {"producer": self.name, "n": n}}

    def open(self):
        self.connect(TCP)
        resume = self.hello({"ack": "spooled", "producer": self.name})["resume"]
        if not self.acknowledged <= resume <= self.acknowledged + BATCH:
            wrong.append(f"{self.name}: resume {resume} after {self.acknowledged} were acknowledged")
        self.advance(max(0, resume - self.acknowledged))

    def exchange(self):
        self.socket.sendall(b"".join(json.dumps(event).encode() + b"\n" for event in self.batch()))
        end = self.acknowledged + BATCH
        while self.acknowledged < end:
            answer = self.line()
            if "ack" not in answer or not self.acknowledged < answer["ack"] <= end:
                wrong.append(f"{self.name}: {answer} after {self.acknowledged}")
                raise EOFError
            self.advance(answer["ack"] - self.acknowledged)


class Http(Producer):
    door = "http"

    def open(self):
        self.http = http.client.HTTPConnection(HTTP, timeout=PATIENCE)

    def close(self):
        if getattr(self, "http", None):
            self.http.close()

    def exchange(self):
        self.http.request("POST", "/events", json.dumps(self.batch()), {"Content-Type": "application/json"})
        response = self.http.getresponse()
        body = response.read()
        if response.status == 503:
            raise Refused
        if response.status != 202:
            wrong.append(f"{self.name}: {response.status} {body[:200]}")
            raise EOFError
        answer = json.loads(body)
        self.settle(answer["accepted"], answer["duplicates"])


class WebSocket(Producer):
    """Text frames with a mask of zeros, which is a mask like any other."""
    door = "ws"

    def open(self):
        self.connect(HTTP)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f"GET /events/stream HTTP/1.1\r\nHost: {HTTP}\r\nUpgrade: websocket\r\n"
                             f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                             "Sec-WebSocket-Version: 13\r\n\r\n").encode())
        if b" 101 " not in self.reader.readline():
            raise Refused
        while self.reader.readline().strip():
            pass
        self.hear("connected")

    def exactly(self, count):
        data = self.reader.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def hear(self, kind):
        head, length = self.exactly(2)
        if length == 126:
            length = int.from_bytes(self.exactly(2), "big")
        body = self.exactly(length)
        if head != 0x81: # a close or a ping: this connection's end is near
            raise EOFError
        answer = json.loads(body)
        if answer["type"] == "error" and answer["code"] in ("OVERLOADED", "RATE_LIMITED"):
            raise Refused
        if answer["type"] != kind:
            wrong.append(f"{self.name}: {answer}")
            raise EOFError
        return answer

    def exchange(self):
        body = json.dumps({"type": "batch", "data": self.batch()}).encode()
        self.socket.sendall(b"\x81\xfe" + len(body).to_bytes(2, "big") + bytes(4) + body)
        answer = self.hear("ack")
        self.settle(answer["accepted"], answer["duplicates"])


def tell(producers):
    with open(f"{DIRECTORY}/progress.new", "w", encoding="ascii") as file:
        print(sum(p.acknowledged for p in producers), sum(p.refused for p in producers), file=file)
    os.rename(f"{DIRECTORY}/progress.new", f"{DIRECTORY}/progress")


everyone = [kind(n) for kind in (Named, Tcp, Http, WebSocket) for n in range(EACH)]
for one in everyone:
    one.start()
while any(one.is_alive() for one in everyone):
    tell(everyone)
    time.sleep(0.02)
tell(everyone)
for one in everyone:
    print("ledger", one.door, one.name, one.acknowledged, one.reconnects, one.duplicates)
for line in wrong[:20]:
    print("wrong", line)
sys.exit(bool(wrong))
