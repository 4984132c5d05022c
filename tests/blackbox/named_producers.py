#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""named_producers.py HOST:PORT PRODUCERS EVENTS RATE: producers with names send EVENTS values without ids each, at most
RATE a second, and go on from `resume` whenever the connection is lost. Checks what the door promises on the way."""
import json
import socket
import sys
import threading
import time

HOST, PORT = sys.argv[1].rsplit(":", 1)
PRODUCERS, EVENTS, RATE = map(int, sys.argv[2:5])
CHUNK = 500
PATIENCE = 60
wrong = []


class Producer(threading.Thread):
    def __init__(self, number):
        super().__init__()
        self.name_ = "counting producer %d" % number
        self.acked = 0  # the door said that so many are safe
        self.resumed = -1
        self.reconnects = 0
        self.began = time.monotonic()
        self.last = self.began

    def run(self):
        while self.acked < EVENTS:
            try:
                self.session()
            except (OSError, EOFError):
                time.sleep(0.05)
            if time.monotonic() - self.last > PATIENCE:
                wrong.append("%s: no progress after %d" % (self.name_, self.acked))
                return

    def session(self):
        with socket.create_connection((HOST, int(PORT)), timeout=PATIENCE) as connection:
            self.reader = connection.makefile("r", encoding="utf-8")
            hello = {"producer": self.name_, "ack": "spooled"}
            connection.sendall(json.dumps({"hello": hello}).encode() + b"\n")
            resume = self.answer()["welcome"]["resume"]
            if resume < self.acked:
                wrong.append("%s: %d were acknowledged, resume is %d" % (self.name_, self.acked, resume))
            self.reconnects += self.resumed >= 0
            self.resumed = resume
            self.acked = max(self.acked, resume)
            self.sent = resume
            while self.acked < EVENTS:
                self.send(connection)
                self.take(self.answer())

    def send(self, connection):
        allowed = int((time.monotonic() - self.began) * RATE) + CHUNK
        while self.sent < min(EVENTS, allowed) and self.sent - self.acked < 8 * CHUNK:
            end = min(self.sent + CHUNK, EVENTS)
            connection.sendall(b"".join(
                b'{"type":"counted","data":{"producer":"%s","n":%d}}\n' % (self.name_.encode(), n + 1)
                for n in range(self.sent, end)))
            self.sent = end
        if self.sent == self.acked and self.sent < EVENTS:
            time.sleep(CHUNK / RATE)
            self.send(connection)

    def answer(self):
        line = self.reader.readline()
        if not line.endswith("\n"):
            raise EOFError
        self.last = time.monotonic()
        return json.loads(line)

    def take(self, answer):
        if set(answer) != {"ack"}:
            wrong.append("%s: unexpected %r" % (self.name_, answer))
        elif not self.acked < answer["ack"] <= self.sent:
            wrong.append("%s: ack %d after %d, %d sent" % (self.name_, answer["ack"], self.acked, self.sent))
        self.acked = max(self.acked, answer.get("ack", 0))


producers = [Producer(n) for n in range(PRODUCERS)]
for producer in producers:
    producer.start()
for producer in producers:
    producer.join()
if min(p.reconnects for p in producers) < 1:
    wrong.append("nobody had to reconnect")
if wrong:
    print("not ok named: acknowledgements rise, and nothing acknowledged is asked for again")
    print("\n".join("  # " + line for line in wrong[:10]))
else:
    print("ok named: acknowledgements rise, and nothing acknowledged is asked for again")
sys.exit(bool(wrong))
