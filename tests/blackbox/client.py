# SPDX-License-Identifier: Apache-2.0
"""What the black-box tests in Python share: cases that count themselves, a raw HTTP client, tokens, Postgres, waiting.

A program registers its cases with @case("PHASE") and ends in run(): `program.py PHASE` runs that phase's cases against
the ringmain that lib.sh has started, and prints `ok NAME` or `not ok NAME` with the reason for each. A case waits for
conditions (until), never for a length of time.
"""
import base64
import hashlib
import hmac
import json
import os
import select
import socket
import sys
import time
import traceback
import uuid

import psycopg2

HTTP, METRICS = os.environ["HTTP"], os.environ["METRICS"]
PATIENCE = 20.0  # seconds for anything that is going to happen
SECRET = b"a secret of the black-box tests, 32 bytes and more"

_cases = []


def case(phase):
    def register(function):
        _cases.append((phase, function))
        return function
    return register


def run():
    """`program.py PHASE [-t] [NAME…]`: runs the phase's cases (or those named) and ends the process; -t: says how long."""
    failed = 0
    phase, *names = [word for word in sys.argv[1:] if word != "-t"]
    for function in [function for belongs, function in _cases if belongs == phase]:
        name = function.__name__
        if names and name not in names:
            continue
        try:
            began = time.monotonic()
            function()
            spent = f" # {time.monotonic() - began:.2f} s" if "-t" in sys.argv else ""
            print("ok", name.replace("_", " ") + spent, flush=True)
        except Exception:  # any reason at all fails the case, and only the case
            failed += 1
            traceback.print_exc(file=sys.stdout)
            print("not ok", name.replace("_", " "), flush=True)
    sys.exit(1 if failed else 0)


def equal(got, wanted, what=""):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def until(question, what, patience=PATIENCE):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + patience
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.01)


def fresh(prefix="e"):
    return f"{prefix}-{uuid.uuid4().hex}"


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


# ── Postgres ─────────────────────────────────────────────────────────────────────────────────────

def rows(sql, *arguments):
    connection = psycopg2.connect(os.environ["PG"])
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return cursor.fetchall()
    finally:
        connection.close()


def stored(sql, *arguments, count=1):
    """Waits for exactly that many rows, and returns them."""
    found = []

    def there():
        found[:] = rows(sql, *arguments)
        return len(found) == count
    until(there, f"{count} rows of {sql} {arguments}")
    return found


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────

def _base64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(header=None, secret=SECRET, **claims):
    """A JSON Web Token, made here and not by ringmain."""
    claims.setdefault("sub", "u-1")
    claims.setdefault("exp", int(time.time()) + 3600)
    head = _base64(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = _base64(json.dumps(claims).encode())
    sign = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
    return f"{head}.{body}.{_base64(sign)}"


# ── HTTP, byte by byte ───────────────────────────────────────────────────────────────────────────

class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


class Http:
    """One connection that sends what it is told and reads answers by RFC 9112."""

    def __init__(self, where=HTTP):
        self.socket = socket.create_connection(address(where), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def _more(self):
        chunk = self.socket.recv(65536)
        if not chunk:
            raise EOFError(f"closed after {self.input!r}")
        self.input += chunk

    def heard(self, seconds):
        """True if there is something to read within this time."""
        return self.input != b"" or bool(select.select([self.socket], [], [], seconds)[0])

    def _until(self, mark):
        while mark not in self.input:
            self._more()
        head, self.input = self.input.split(mark, 1)
        return head

    def read(self, head_only=False):
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        true(lines[0].startswith("HTTP/1.1 "), lines[0])
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        length = 0 if head_only or status in (100, 101, 204) else int(headers["content-length"])
        while len(self.input) < length:
            self._more()
        body, self.input = self.input[:length], self.input[length:]
        return Response(status, headers, body)

    def closed(self):
        """True once the peer has closed, with nothing more said."""
        self.socket.settimeout(PATIENCE)
        try:
            return self.input == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def ask(self, method, path, body=None, headers=None):
        lines = [f"{method} {path} HTTP/1.1", "Host: ringmain.test"]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        return self.read(head_only=method == "HEAD")


def post(path, value, where=HTTP, **headers):
    """One request on a connection of its own; `value` is JSON unless it is bytes already."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    with Http(where) as http:
        return http.ask("POST", path, body, {name.replace("_", "-"): text for name, text in headers.items()})


def get(path, where=HTTP, **headers):
    with Http(where) as http:
        return http.ask("GET", path, None, {name.replace("_", "-"): text for name, text in headers.items()})


# ── Prometheus text ──────────────────────────────────────────────────────────────────────────────

def metric(name):
    """The sum over a family's series, or one series if its labels are given."""
    text = get("/metrics", where=METRICS).body.decode()
    found = [line.rpartition(" ")[2] for line in text.splitlines()
             if line.startswith((name + " ", name + "{"))]
    true(found, f"{name} is not in the metrics")
    return sum(float(value) for value in found)
