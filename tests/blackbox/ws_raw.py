# SPDX-License-Identifier: Apache-2.0
"""A WebSocket made by hand: frames as they are wanted, right or wrong, and what comes back, frame by frame. RFC 6455."""
import base64
import hashlib
import os
import struct

from client import Http, equal, true

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FINAL, RSV1 = 0x80, 0x40


def mask(payload, key):
    """Applies the four bytes of the key."""
    turned = (key * (len(payload) // 4 + 1))[:len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(turned, "big")).to_bytes(len(payload), "big")


def frame(opcode, payload=b"", final=True, reserved=0, masked=True, length=None):
    length = len(payload) if length is None else length
    head = bytes([(FINAL if final else 0) | reserved << 4 | opcode])
    bit = 0x80 if masked else 0
    if length < 126:
        head += bytes([bit | length])
    elif length < 65536:
        head += bytes([bit | 126]) + struct.pack(">H", length)
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", length)
    if not masked:
        return head + payload
    key = os.urandom(4)
    return head + key + mask(payload, key)


class Raw(Http):
    """A WebSocket without any help."""

    def __init__(self, path="/echo", first=b"", headers=""):
        super().__init__()
        key = base64.b64encode(os.urandom(16))
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key.decode()}\r\n{headers}\r\n".encode() + first)
        answer = self.read()
        equal(answer.status, 101)
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        equal(answer.headers["sec-websocket-accept"], base64.b64encode(digest).decode())
        self.agreed = answer.headers.get("sec-websocket-extensions", "")

    def _bytes(self, count):
        taken = bytearray(self.input)
        while len(taken) < count:
            piece = self.socket.recv(max(65536, count - len(taken)))
            if not piece:
                raise EOFError(f"closed after {bytes(taken[:200])!r}")
            taken += piece
        self.input = bytes(taken[count:])
        return bytes(taken[:count])

    def frame(self):
        first, second = self._bytes(2)
        true(second < 0x80, "a server does not mask")
        length = second
        if length == 126:
            length, = struct.unpack(">H", self._bytes(2))
        elif length == 127:
            length, = struct.unpack(">Q", self._bytes(8))
        return first, self._bytes(length)

    def closes_with(self, code, what):
        """The next frame is a close with this code (None: with none), and the connection ends once it is answered."""
        first, payload = self.frame()
        equal((first, payload[:2]), (FINAL | CLOSE, b"" if code is None else struct.pack(">H", code)), what)
        self.send(frame(CLOSE, payload[:2]))
        true(self.closed(), what)
