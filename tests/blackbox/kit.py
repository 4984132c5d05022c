# SPDX-License-Identifier: Apache-2.0
"""What the Python helpers of the black-box tests share: cases, the database, a TCP producer. Environment as lib.sh
leaves it: TCP, HTTP, METRICS, PG, TMP, PROGRAM."""
import contextlib
import json
import os
import socket
import sys
import time
import traceback
import urllib.request

import psycopg2

PATIENCE = 30  # seconds; reached only by a test that fails
failed = 0


@contextlib.contextmanager
def case(name):
    """with case("what is true"): … prints ok or not ok, whatever happens inside."""
    global failed
    try:
        yield
        print("ok " + name, flush=True)
    except Exception:
        failed += 1
        print("not ok " + name, flush=True)
        for line in traceback.format_exc().splitlines()[-6:]:
            print("  # " + line[:1000], flush=True)


def finish():
    sys.exit(1 if failed else 0)


def same(got, wanted, what=""):
    if got != wanted:
        raise AssertionError("%s wanted %r, got %r" % (what, wanted, got))


def holds(condition, *seen):
    if not condition:
        raise AssertionError("seen: %r" % (seen,))


class Database:
    def __init__(self):
        self.connection = None

    def rows(self, query, *values):
        if self.connection is None:
            self.connection = psycopg2.connect(os.environ["PG"])
            self.connection.autocommit = True
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else None

    def one(self, query, *values):
        return self.rows(query, *values)[0][0]


database = Database()


def until(wanted, question, what=""):
    """Asks until the answer is `wanted`."""
    deadline = time.monotonic() + PATIENCE
    while (got := question()) != wanted:
        if time.monotonic() > deadline:
            raise AssertionError("%s wanted %r, got %r" % (what, wanted, got))
        time.sleep(0.02)


def until_one(wanted, query, *values):
    until(wanted, lambda: database.one(query, *values), query)


def metrics():
    """All of them, each by its name and labels as they stand there."""
    with urllib.request.urlopen("http://%s/metrics" % os.environ["METRICS"], timeout=PATIENCE) as answer:
        lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


class Producer:
    """One connection to the TCP door, lines in both directions."""

    def __init__(self, hello=None, address=None):
        host, port = (address or os.environ["TCP"]).rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.reader = self.socket.makefile("rb")
        self.acks = []  # all that were seen
        self.duplicates = 0
        self.rejects = {}  # number: code
        self.messages = {}  # number: message
        self.welcome = None
        if hello is not None:
            self.send({"hello": hello})

    def greeted(self):
        self.welcome = self.answer()["welcome"]
        return self

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, *values):
        self.raw(b"".join((v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\n" for v in values))

    def frame(self, *values):
        for value in values:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.raw(len(data).to_bytes(4, "big") + data)

    def answer(self):
        """The next line, decoded; None at the end of the stream."""
        line = self.reader.readline()
        if line == b"":
            return None
        holds(line.endswith(b"\n"), line)
        answer = json.loads(line)
        if "reject" in answer:
            holds(answer["reject"] not in self.rejects, answer)
            self.rejects[answer["reject"]] = answer["code"]
            self.messages[answer["reject"]] = answer["message"]
        if "ack" in answer:
            holds(not self.acks or answer["ack"] > self.acks[-1], self.acks, answer)
            self.acks.append(answer["ack"])
            self.duplicates = answer.get("duplicates", 0)
        return answer

    def until_ack(self, number):
        while not self.acks or self.acks[-1] < number:
            holds(self.answer() is not None, "the connection ended", self.acks, self.rejects)
        same(self.acks[-1], number)

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def rest(self):
        """All lines until the end of the stream."""
        lines = []
        while (answer := self.answer()) is not None:
            lines.append(answer)
        return lines

    def ended(self):
        """True once the peer has closed, orderly or not; lines before that are passed over."""
        try:
            self.rest()
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.reader.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
