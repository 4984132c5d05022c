# SPDX-License-Identifier: Apache-2.0
"""Clients of Socket.IO's door that do not keep to its rules, by raw sockets: malformed traffic, floods, thousands that come
and go, readers that do not read. Whatever they do, an honest client beside them is served, nothing is left of them, and
what they may take is bounded. Environment as lib.sh leaves it, and PID."""
import json
import os
import random
import socket
import sys
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from kit import PATIENCE, case, finish, holds, same, until

HOST, PORT = os.environ["HTTP"].rsplit(":", 1)
PATH = "/socket.io/?EIO=4"
MANY = int(os.environ.get("MANY", "3000"))


def dial():
    connection = socket.create_connection((HOST, int(PORT)), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def head(method, target, *lines, length=None):
    lines = ["%s %s HTTP/1.1" % (method, target), "Host: abuse.test", *lines]
    if length is not None:
        lines.append("Content-Length: %d" % length)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Http:
    """A connection that is kept alive."""

    def __init__(self):
        self.socket = dial()
        self.reader = self.socket.makefile("rb")

    def ask(self, method, target, body=None):
        self.socket.sendall(head(method, target, length=None if body is None else len(body)) + (body or b""))

    def answer(self):
        """(status, body); (0, b"") if it was closed instead."""
        line = self.reader.readline()
        if not line:
            return 0, b""
        status, length = int(line.split()[1]), 0
        while (field := self.reader.readline().strip()):
            if field.lower().startswith(b"content-length:"):
                length = int(field.split(b":")[1])
        return status, self.reader.read(length)

    def __call__(self, method, target, body=None):
        self.ask(method, target, body)
        return self.answer()

    def close(self):
        self.reader.close()
        self.socket.close()


def open_polling(http):
    status, body = http("GET", PATH + "&transport=polling")
    same(status, 200, body)
    return json.loads(body[1:])["sid"]


def frame(text, opcode=1, final=True):
    data = text if isinstance(text, bytes) else text.encode()
    mask = os.urandom(4)
    first = bytes([(0x80 if final else 0) | opcode])
    if len(data) < 126:
        size = bytes([0x80 | len(data)])
    elif len(data) < 65536:
        size = bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    else:
        size = bytes([0x80 | 127]) + len(data).to_bytes(8, "big")
    return first + size + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
           "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")


class Socket:
    """A WebSocket; opened with the Socket.IO connect unless that is not wanted."""

    def __init__(self, connect=True, receive=None):
        self.socket = socket.socket()
        if receive:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self.socket.settimeout(PATIENCE)
        self.socket.connect((HOST, int(PORT)))
        self.reader = self.socket.makefile("rb")
        self.socket.sendall(head("GET", PATH + "&transport=websocket", *UPGRADE))
        holds(b"101" in self.reader.readline())
        while self.reader.readline().strip():
            pass
        holds(self.message()[1].startswith(b"0{"))
        if connect:
            self.say("40")
            self.until(b"40{")

    def say(self, text, **how):
        self.socket.sendall(frame(text, **how))

    def message(self):
        """(opcode, payload); (0, b"") at the end."""
        start = self.reader.read(2)
        if len(start) < 2:
            return 0, b""
        length = start[1] & 127
        if length == 126:
            length = int.from_bytes(self.reader.read(2), "big")
        elif length == 127:
            length = int.from_bytes(self.reader.read(8), "big")
        return start[0] & 15, self.reader.read(length)

    def until(self, prefix):
        while True:
            opcode, payload = self.message()
            holds(opcode != 0 and opcode != 8, prefix, opcode, payload)
            if payload == b"2":
                self.say("3")
            if payload.startswith(prefix):
                return payload

    def ended(self):
        """True once the server has closed it; what came before that is passed over, and pings answered."""
        try:
            while True:
                opcode, payload = self.message()
                if opcode in (0, 8):
                    return True
                if payload == b"2":
                    self.say("3")
        except (ConnectionError, BrokenPipeError):
            return True

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self):
        self.reader.close()
        self.socket.close()


def honest():
    """Somebody who keeps to the rules is served, now."""
    client = Socket()
    client.say('421["join_room",{"roomId":"honest"}]')
    client.until(b"431[")
    client.close()


def metric(name):
    text = urllib.request.urlopen("http://%s/metrics" % os.environ["METRICS"], timeout=PATIENCE).read().decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
               if line.startswith(name) and line[len(name)] in " {")


def resident():
    with open("/proc/%s/status" % os.environ["PID"]) as status:
        return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon", "RssShmem")))


def nobody_left():
    until(0, lambda: metric("websocket_connections_total"), "websocket_connections_total")


BAD_PAYLOADS = [b"", b"x", b"7", b"44", b"4" + b"9", b"49", b"4\xff\xfe", b"\x1e", b"\x1e\x1e\x1e", b"40\x1e", b"\x1e40",
                b"b", b"bAA", b"b!!!!", b"b====", b"bAAAA", b"2", b"6", b"0", b"5", b"4" * 100, b"1:4", b"2:40", b"\x00\x04\xff4",
                b"\x00" * 1000, b"40" + b"\x1e40" * 2000, b"4" + b"2" * 5000]
BAD_PACKETS = ["49", "4", "4x", "42", "42[", "42[]", "42{}", "42[1", '42["a"', '42["a"]x', '42[null]', '42[["a"]]', "42{\"a\":1}",
               "4299999999999999999999999[\"a\"]", "42-1[\"a\"]", "43", "43[]", "4399999999999[]", "451-", "451-[\"a\"]", "45",
               "450-[\"a\"]", "45-1-[\"a\"]", "4599999999999-[\"a\"]", '451-["a",{"_placeholder":true,"num":7}]',
               '451-["a",{"_placeholder":true,"num":-1}]', '451-["a",{"_placeholder":true}]', "461-", "461-1[]", "47", "48",
               "40/ws", "40/ws,{", "40/ws,[]", "40/" + "x" * 5000, "40,", "40{", "40[]", "40nonsense", "41x", "44", '44{"message":1}',
               "42/nowhere,[\"a\"]", '42/ws,["a"]', "1", "0", "5", "6", "7", "9", "3probe", "2probe", "\u20ac", '42["' + "[" * 3000,
               "42" + "[" * 3000 + "]" * 3000, '42["connect"]', '42["connect_error",1]', '42["disconnect"]', '42["error"]',
               '42["join_room"]', '42["join_room",1,2,3]', '42["message"]', '42["message",null]', '42["message",{"type":1}]',
               '42["message",{"type":"send_message","data":null}]', '42["message",{"type":"broadcast","data":{}}]',
               '42["join-project",{"projectId":{}}]', '42["__proto__",1]', '42["\\u0000",1]', '42["\\ud800",1]']
VALID = ['40', '41', '42["a",1]', '421["join_room",{"roomId":"r"}]', '42["message",{"type":"typing_start","data":{"roomId":"r"}}]',
         '451-["b",{"_placeholder":true,"num":0}]', '431[1]', '40/ws,{"token":"t"}', '42/ws,["a"]', '3', '2probe', '5']


def mutated(generator, text):
    data = bytearray(text.encode())
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(data) + 1)
        how = generator.randrange(4)
        if how == 0:
            data[at:at] = bytes([generator.choice(b'0123456789[]{}",:-/\\\x00\x1e\xff')])
        elif how == 1 and data:
            del data[min(at, len(data) - 1)]
        elif how == 2 and data:
            data[min(at, len(data) - 1)] ^= 1 << generator.randrange(8)
        else:
            data[at:at] = data[:at]
    return bytes(data[:5000])


def polls():
    with case("a connection is counted while it is there"):
        client = Socket()
        until(1, lambda: metric("websocket_connections_total"), "websocket_connections_total")
        client.close()
        nobody_left()
    with case("a request that is no Engine.IO is told so"):
        http = Http()
        for target, code in ((PATH, 0), (PATH + "&transport=tcp", 0), (PATH + "&transport=polling&sid=unknown", 1),
                             ("/socket.io/?transport=polling", 5), ("/socket.io/?EIO=9&transport=polling", 5)):
            status, body = http("GET", target)
            same((status, json.loads(body)["code"]), (400, code), target)
        same(http("POST", PATH + "&transport=polling", b"40")[0], 400)
        for method in ("PUT", "DELETE", "PATCH"):
            holds(http(method, PATH + "&transport=polling", b"")[0] in (400, 404, 405, 0), method)
            http.close()
            http = Http()
    with case("bad payloads end their session at most"):
        for payload in BAD_PAYLOADS:
            http = Http()
            sid = open_polling(http)
            status, _ = http("POST", PATH + "&transport=polling&sid=" + sid, payload)
            holds(status in (0, 200, 400), status, payload)
            http.close()
        honest()
    with case("two polls at a time end the session, and both are answered"):
        first, second = Http(), Http()
        sid = open_polling(first)
        first("POST", PATH + "&transport=polling&sid=" + sid, b"40")
        first("GET", PATH + "&transport=polling&sid=" + sid)
        first.ask("GET", PATH + "&transport=polling&sid=" + sid)
        time.sleep(0.05)  # the order of two connections is nobody's promise
        second.ask("GET", PATH + "&transport=polling&sid=" + sid)
        statuses = sorted((first.answer()[0], second.answer()[0]))
        holds(400 in statuses or 500 in statuses, statuses)
        same(second("GET", PATH + "&transport=polling&sid=" + sid)[0] if statuses[0] else 400, 400)
    with case("a flood of polls, pipelined, and of posts"):
        http = Http()
        sid = open_polling(http)
        target = PATH + "&transport=polling&sid=" + sid
        http.socket.sendall(head("GET", target) * 2000)
        http.close()
        http = Http()
        sid = open_polling(http)
        target = PATH + "&transport=polling&sid=" + sid
        one = head("POST", target, length=1) + b"3"
        http.socket.sendall(one * 1000)
        for _ in range(1000):
            if http.answer()[0] != 200:
                break
        http.close()
        honest()
    with case("a thousand parked polls that are cut"):
        parked = []
        for i in range(1000):
            http = Http()
            sid = open_polling(http)
            same(http("POST", PATH + "&transport=polling&sid=" + sid, b"40")[0], 200)
            http("GET", PATH + "&transport=polling&sid=" + sid)
            http.ask("GET", PATH + "&transport=polling&sid=" + sid)
            parked.append(http)
        for i, http in enumerate(parked):
            if i % 2:
                http.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            http.close()
        nobody_left()
        honest()


def packets():
    with case("bad packets by WebSocket end their connection at most"):
        for packet in BAD_PACKETS:
            for connect in (True, False):
                client = Socket(connect)
                client.say(packet)
                client.say(b"\x01\x02", opcode=2)
                client.say("1")  # close: whatever was thought of the rest
                holds(client.ended(), packet)
                client.close()
        honest()
    with case("mutated packets, 3,000 of them"):
        generator = random.Random(4711)
        for _ in range(300):
            client = Socket(generator.random() < 0.8)
            try:
                for _ in range(10):
                    client.say(mutated(generator, generator.choice(VALID)), opcode=generator.choice((1, 1, 1, 2)))
                client.say("1")
                holds(client.ended())
            except (ConnectionError, BrokenPipeError):
                pass
            client.close()
        honest()
    with case("attachments that never come, or come unasked"):
        for count in (1, 3, 10, 1000):
            client = Socket()
            client.say('45%d-["x",{"_placeholder":true,"num":0}]' % count)
            client.say('42["a"]')
            client.say("1")
            holds(client.ended(), count)
            client.close()
        client = Socket()
        client.say(b"unasked", opcode=2)
        client.say("1")
        holds(client.ended())
        client.close()
        honest()
    with case("messages in a thousand fragments, and one that never ends"):
        client = Socket()
        text = '421["join_room",{"roomId":"' + "r" * 100 + '"}]'
        for i, letter in enumerate(text):
            client.say(letter, opcode=1 if i == 0 else 0, final=i == len(text) - 1)
        client.until(b"431[")
        client.say('42["', final=False)
        client.reset()
        honest()
    with case("a message that is too long ends the connection, not the memory"):
        before = resident()
        client = Socket()
        try:
            client.say('42["x","' + "y" * 3000000 + '"]')
        except (ConnectionError, BrokenPipeError):
            pass
        holds(client.ended())
        client.close()
        holds(resident() - before < 16 << 20, before, resident())
        honest()


def crowds():
    def wave():
        clients = [Socket(i % 3 != 0) for i in range(MANY // 3)]
        for i, client in enumerate(clients):
            client.reset() if i % 2 else client.close()
        for _ in range(MANY // 3):
            http = Http()
            open_polling(http)
            http.close()  # and is never seen again
        for _ in range(MANY // 3):
            connection = dial()
            connection.sendall(head("GET", PATH + "&transport=websocket", *UPGRADE)[:random.randint(1, 150)])
            connection.close()
    with case("thousands that come and go leave nothing"):
        wave()
        nobody_left()
        first = resident()
        wave()
        nobody_left()
        wave()
        nobody_left()
        holds(resident() - first < 8 << 20, first, resident())
        honest()


def slow_readers():
    with case("a reader that does not read is closed, the others get everything"):
        before = resident()
        slow, reader, writer = Socket(receive=4096), Socket(), Socket()
        for client in (slow, reader, writer):
            client.say('421["join_room",{"roomId":"flood"}]')
            client.until(b"431[")
        body = json.dumps({"to": {"room": "flood"}, "event": "flood", "data": "z" * 20000}).encode()
        http = Http()
        for i in range(1000):
            holds(200 <= http("POST", "/api/publish", body)[0] < 300)
            reader.until(b'42["flood"')
            writer.until(b'42["flood"')
        holds(slow.ended())
        holds(resident() - before < 64 << 20, before, resident())
        for client in (slow, reader, writer):
            client.close()
        honest()
    with case("a poller that does not come back holds no more than its bounds"):
        http, publisher = Http(), Http()
        sid = open_polling(http)
        http("POST", PATH + "&transport=polling&sid=" + sid, b'40\x1e421["join_room",{"roomId":"flood"}]')
        http("GET", PATH + "&transport=polling&sid=" + sid)
        before = resident()
        body = json.dumps({"to": {"room": "flood"}, "event": "flood", "data": "z" * 20000}).encode()
        for i in range(1000):
            if not 200 <= publisher("POST", "/api/publish", body)[0] < 300:
                break
        holds(resident() - before < 64 << 20, before, resident())
        nobody_left()
        honest()


for part in sys.argv[1:] or ("polls", "packets", "crowds", "slow_readers"):
    {"polls": polls, "packets": packets, "crowds": crowds, "slow_readers": slow_readers}[part]()
finish()
