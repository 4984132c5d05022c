#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""proxy.py FRONT BACK ORDERS: between ringmain and Postgres, on Unix sockets, and cuts where it is told to.

While the file ORDERS is absent, bytes pass untouched. With a number n in it, the next commit's answer loses all but its
first n bytes: the answer is what the server says after the last CopyInResponse of a transaction, so its first byte
exists only once Postgres knows how the COPY ended, and with one stream in the batch the transaction was committed.
Then both sides are closed and ORDERS is renamed to ORDERS.done. An answer that ends before it has n bytes passes, and
ORDERS is renamed to ORDERS.whole: all places have been cut at.

  client ─ Query, CopyData …, CopyDone ──────────────────────────────►  server
         ◄── T D C … G ───────────────┐┌── C "COPY 512" Z "I" ───────
                        CopyInResponse┘└ byte 0, 1, 2, … of the answer
"""
import os
import socket
import sys
import threading

FRONT, BACK, ORDERS = sys.argv[1:4]
COPY_IN, HEADER = ord("G"), 5


class Answers:
    """Follows the server's messages (a type byte, a length, a body) over any cuts of the stream."""

    def __init__(self):
        self.header, self.body, self.after_copy = b"", 0, None

    def byte(self, value):
        """Takes one byte; returns its place in a commit's answer, or None."""
        place = self.after_copy
        if place is not None:
            self.after_copy += 1
        if self.body:
            self.body -= 1
            self._end(self.header[0])
        else:
            self.header += bytes([value])
            if len(self.header) == HEADER:
                self.body = int.from_bytes(self.header[1:], "big") - 4
                self._end(self.header[0])
        return place

    def _end(self, kind):
        if self.body:
            return
        self.header = b""
        if kind == COPY_IN:
            self.after_copy = 0
        elif kind == ord("Z"):
            self.after_copy = None


def order():
    try:
        with open(ORDERS, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def passed(chunk, answers):
    """How many of these bytes may pass; fewer than all: then cut."""
    cut = order()
    for index, value in enumerate(chunk):
        place = answers.byte(value)
        if cut is None or place is None:
            continue
        if place >= cut:
            return index
        if answers.after_copy is None: # that was its last byte
            os.rename(ORDERS, ORDERS + ".whole")
            cut = None
    return len(chunk)


def pump(source, sink, answers):
    try:
        while chunk := source.recv(65536):
            end = passed(chunk, answers) if answers else len(chunk)
            sink.sendall(chunk[:end])
            if end < len(chunk):
                os.rename(ORDERS, ORDERS + ".done")
                break
    except OSError:
        pass
    for side in (source, sink):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def serve(client):
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(BACK)
    except OSError:
        client.close()
        return
    up = threading.Thread(target=pump, args=(client, server, None), daemon=True)
    up.start()
    pump(server, client, Answers())
    up.join()
    client.close()
    server.close()


with socket.socket(socket.AF_UNIX) as door:
    door.bind(FRONT)
    door.listen(64)
    while True:
        threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
