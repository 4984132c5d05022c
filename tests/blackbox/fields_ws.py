#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""fields_ws.py FILE: sends it in batches over WebSocket, as text and as binary messages by turns, the last ones singly."""
import asyncio
import json
import os
import sys

import websockets

from kit import case, finish, same

with open(sys.argv[1], "rb") as file:
    lines = [line.rstrip(b"\n") for line in file]
SINGLY = 99


async def send():
    counts = {"accepted": 0, "duplicates": 0, "rejected": 0}
    async with websockets.connect("ws://%s/events/stream?ack=stored" % os.environ["HTTP"]) as door:
        same(json.loads(await door.recv())["type"], "connected")
        for number, first in enumerate(range(0, len(lines) - SINGLY, 100)):
            batch = lines[first:min(first + 100, len(lines) - SINGLY)]
            message = b'{"type":"batch","data":[' + b",".join(batch) + b"]}"
            await door.send(message if number % 2 else message.decode())
        for number in range((len(lines) - SINGLY + 99) // 100):
            ack = json.loads(await door.recv())
            same(ack["type"], "ack")
            for name in ("accepted", "duplicates"):
                counts[name] += ack[name]
            counts["rejected"] += len(ack["rejected"])
        for line in lines[-SINGLY:]:
            await door.send(b'{"type":"event","data":' + line + b"}")
        for line in lines[-SINGLY:]:
            ack = json.loads(await door.recv())
            same((ack["type"], ack["status"], ack["eventId"]), ("ack", "accepted", json.loads(line)["id"]))
            counts["accepted"] += 1
    return counts


with case("ws: batches and single events, all accepted"):
    same(asyncio.run(send()), {"accepted": len(lines), "duplicates": 0, "rejected": 0})
finish()
