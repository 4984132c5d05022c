# SPDX-License-Identifier: Apache-2.0
"""The WebSocket doors: python3-websockets as a client, and frames made by hand for what no client sends.
Phases: open, strict, full; see ws_test.sh. CONTRACTS.md 1 and 3, RFC 6455, RFC 7692.
"""
import asyncio
import base64
import json
import os
import re
import struct
import subprocess
import time

import websockets

from client import (HTTP, Http, case, equal, fresh, get, metric, rows, run, stored, token, true, until)
from ws_raw import BINARY, CLOSE, PING, PONG, TEXT, Raw, frame

PATIENCE = 20
TYPES = ["item_added", "item_removed", "item_updated", "cart_viewed", "cart_cleared", "coupon_applied",
         "checkout_started", "checkout_completed", "cart_abandoned"]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


def case_async(phase):
    """A case that is a coroutine."""
    def register(function):
        def whole():
            asyncio.run(asyncio.wait_for(function(), 3 * PATIENCE))
        whole.__name__ = function.__name__
        return case(phase)(whole)
    return register


def connect(path="/events/stream", **options):
    options.setdefault("max_size", None)
    options.setdefault("ping_interval", None)
    options.setdefault("close_timeout", PATIENCE)
    return websockets.connect(f"ws://{HTTP}{path}", **options)


async def hear(ws):
    return json.loads(await asyncio.wait_for(ws.recv(), PATIENCE))


async def ask(ws, value):
    await ws.send(value if isinstance(value, (str, bytes)) else json.dumps(value))
    return await hear(ws)


async def stream(path="/events/stream", **options):
    """An open connection whose greeting has been read."""
    ws = await connect(path, **options)
    equal((await hear(ws))["type"], "connected")
    return ws


def cart(kind="item_added", **members):
    return {"type": "cart_event", "data": {"eventId": fresh(), "eventType": kind, "userId": "u-1",
                                           "metadata": {"productId": "p"}, "timestamp": "2025-08-10T03:27:04Z", **members}}


def is_ack(answer, of, status="accepted"):
    equal(sorted(answer), ["eventId", "status", "timestamp", "type"])
    equal((answer["type"], answer["eventId"], answer["status"]), ("ack", of, status))
    true(TIME.match(answer["timestamp"]), answer)


def is_error(answer, code, of=None):
    equal((answer["type"], answer["code"], answer.get("eventId")), ("error", code, of), answer)
    true(set(answer) <= {"type", "code", "message", "eventId", "timestamp"}, answer)
    true(answer["message"] and TIME.match(answer["timestamp"]), answer)


# ── the producers' door, with python3-websockets ─────────────────────────────────────────────────

@case_async("open")
async def connected_is_said_first():
    seen = set()
    for _ in range(3):
        async with connect() as ws:
            greeting = await hear(ws)
            equal(sorted(greeting), ["connectionId", "message", "timestamp", "type"])
            equal(greeting["type"], "connected")
            true(isinstance(greeting["message"], str) and TIME.match(greeting["timestamp"]), greeting)
            seen.add(greeting["connectionId"])
    equal(len(seen), 3, "connectionIds differ")


@case_async("open")
async def every_cart_event_is_acknowledged_and_stored():
    ws = await stream()
    for kind in TYPES:
        one = cart(kind, metadata={"cartValue": 59.98, "itemCount": 2})
        is_ack(await ask(ws, one), one["data"]["eventId"])
        equal(stored("select event_type, user_id, metadata, (ts at time zone 'utc')::text from cart_events where id = %s",
                     one["data"]["eventId"]),
              [(kind, "u-1", {"cartValue": 59.98, "itemCount": 2}, "2025-08-10 03:27:04")])
    await ws.close()


@case_async("open")
async def a_duplicate_is_told_on_any_connection():
    ws, other, one = await stream(), await stream(), cart()
    key = one["data"]["eventId"]
    is_ack(await ask(ws, one), key)
    is_ack(await ask(ws, one), key, "duplicate")
    is_ack(await ask(other, one), key, "duplicate")
    stored("select 1 from cart_events where id = %s", key)
    await ws.close()
    await other.close()


@case_async("open")
async def an_unsupported_type_keeps_the_connection():
    ws = await stream()
    for message in ({"type": "ping"}, {"type": "subscribe", "data": {}}, {"type": "CART_EVENT", "data": {}}):
        is_error(await ask(ws, message), "UNSUPPORTED_TYPE")
    bad = cart("item_stolen")
    is_error(await ask(ws, bad), "UNSUPPORTED_TYPE", bad["data"]["eventId"])
    one = cart()
    is_ack(await ask(ws, one), one["data"]["eventId"])
    await ws.close()


@case_async("open")
async def every_code_between_good_neighbours():
    bad = [("INVALID_JSON", '{"type":"cart_event","data":{"eventId":"x",}}', None),
           ("INVALID_JSON", "", None), ("INVALID_JSON", "hello", None), ("INVALID_JSON", "[]", None),
           ("MISSING_TYPE", '{"data":{}}', None),
           ("MISSING_TYPE", '{"type":"event","data":{"id":"bad"}}', "bad"),
           ("MISSING_TYPE", '{"type":"cart_event","data":{"eventId":"bad","userId":"u"}}', "bad"),
           ("UNSUPPORTED_TYPE", '{"type":"cart_event","data":{"eventId":"bad","eventType":"no"}}', "bad"),
           ("INVALID_FIELD", '{"type":"event"}', None),
           ("INVALID_FIELD", '{"type":"cart_event","data":"text"}', None),
           ("INVALID_FIELD", '{"type":"batch","data":{}}', None),
           ("INVALID_FIELD", '{"type":"event","data":{"type":"t","id":"bad","userId":{}}}', "bad"),
           ("INVALID_FIELD", '{"type":"event","data":{"type":"t","id":"bad","timestamp":"noon"}}', "bad"),
           ("TOO_LARGE", '{"type":"event","data":{"type":"t","id":"bad","data":"' + "x" * 65536 + '"}}', "bad"),
           ("UNSTORABLE_TEXT", '{"type":"event","data":{"type":"t","id":"bad","data":"\\u0000"}}', "bad"),
           ("UNSTORABLE_TEXT", '{"type":"cart_event","data":{"eventId":"bad","eventType":"item_added",'
                               '"metadata":["\\ud800"]}}', "bad")]
    ws = await stream()
    for code, text, key in bad:
        before, behind = cart(), cart()
        for message in (json.dumps(before), text, json.dumps(behind)):
            await ws.send(message)
        is_ack(await hear(ws), before["data"]["eventId"])
        is_error(await hear(ws), code, key)
        is_ack(await hear(ws), behind["data"]["eventId"])
        stored("select 1 from cart_events where id in (%s, %s)", before["data"]["eventId"], behind["data"]["eventId"], count=2)
    equal(rows("select (select count(*) from events where id = 'bad') + (select count(*) from cart_events where id = 'bad')"),
          [(0,)])
    await ws.close()


@case_async("open")
async def event_feeds_the_other_streams():
    ws, one, mark = await stream(), fresh(), fresh()
    is_ack(await ask(ws, {"type": "event", "data": {"type": "click", "id": one, "userId": "u", "data": {"n": 1}}}), one)
    equal(stored("select type, user_id, data from events where id = %s", one), [("click", "u", {"n": 1})])
    answer = await ask(ws, {"type": "event", "data": {"type": "message", "data": {"user_id": 7, "channel_id": 8, "content": mark}}})
    equal((answer["type"], answer["status"]), ("ack", "accepted"))
    equal(stored("select user_id, channel_id from messages where content = %s", mark), [(7, 8)])
    await ws.close()


@case_async("open")
async def a_batch_gets_one_ack_with_counts():
    ws, good = await stream(), [{"type": "t", "id": fresh()} for _ in range(300)]
    items = good[:100] + [{"id": "bad"}, 7] + good[100:] + [good[0], cart()]
    answer = await ask(ws, {"type": "batch", "data": items})
    equal(sorted(answer), ["accepted", "duplicates", "rejected", "timestamp", "type"])
    equal((answer["type"], answer["accepted"], answer["duplicates"]), ("ack", 301, 1))
    equal([(one["index"], one["code"], one.get("id")) for one in answer["rejected"]],
          [(100, "MISSING_TYPE", "bad"), (101, "INVALID_FIELD", None)])
    stored("select 1 from events where id = any(%s)", [one["id"] for one in good], count=300)
    answer = await ask(ws, {"type": "batch", "data": []})
    equal((answer["accepted"], answer["duplicates"], answer["rejected"]), (0, 0, []))
    await ws.close()


@case_async("open")
async def binary_and_fragmented_messages_carry_the_same():
    ws = await stream()
    one, other = cart(metadata={"text": "größe €"}), cart()
    is_ack(await ask(ws, json.dumps(one, ensure_ascii=False).encode()), one["data"]["eventId"])
    text = json.dumps(other)
    await ws.send([text[:1], text[1:30], "", text[30:]])
    is_ack(await hear(ws), other["data"]["eventId"])
    equal(stored("select metadata from cart_events where id = %s", one["data"]["eventId"]), [({"text": "größe €"},)])
    await ws.close()


@case_async("open")
async def compressed_or_not():
    text = "lorem ipsum " * 3000
    for compression in ("deflate", None):
        ws = await stream(compression=compression)
        equal(len(ws.extensions), 1 if compression else 0)
        one = cart(metadata={"text": text})
        is_ack(await ask(ws, one), one["data"]["eventId"])
        equal(stored("select metadata->>'text' from cart_events where id = %s", one["data"]["eventId"]), [(text,)])
        await ws.close()


@case_async("open")
async def acknowledgement_levels():
    ws = await stream("/events/stream?ack=stored")
    for _ in range(10):
        one = cart()
        is_ack(await ask(ws, one), one["data"]["eventId"])
        equal(rows("select count(*) from cart_events where id = %s", one["data"]["eventId"]), [(1,)], "at once")
    await ws.close()
    ws, one = await stream("/events/stream?ack=none"), cart()
    await ws.send(json.dumps(one))
    is_error(await ask(ws, "{"), "INVALID_JSON")
    stored("select 1 from cart_events where id = %s", one["data"]["eventId"])
    await ws.close()
    equal(await refusal(path="/events/stream?ack=perhaps"), 400)


async def refusal(path="/events/stream", **options):
    """The status of an upgrade that is refused."""
    try:
        ws = await connect(path, **options)
    except websockets.exceptions.InvalidStatusCode as why:
        return why.status_code
    await ws.close()
    return 101


@case_async("open")
async def origins():
    equal(await refusal(origin="http://localhost:3000"), 101)
    equal(await refusal(origin=f"http://{HTTP}"), 101, "its own pages")
    equal(await refusal(origin="http://evil.test"), 403)
    equal(await refusal(origin="null"), 403)


@case_async("open")
async def pings_and_pongs():
    ws = await stream()
    for data in (b"", b"x" * 125):
        await asyncio.wait_for(await ws.ping(data), PATIENCE)
    await ws.pong(b"unasked")
    one = cart()
    is_ack(await ask(ws, one), one["data"]["eventId"])
    await ws.close()


@case_async("open")
async def a_close_code_comes_back():
    for code in (1000, 1001, 1003, 1009, 3000, 4999):
        ws = await stream()
        await ws.close(code, "bye")
        equal((ws.close_code, ws.close_rcvd is None or ws.close_rcvd.code), (code, code))


@case_async("open")
async def answers_come_before_the_close():
    """A producer that sends and closes at once still hears of what it sent."""
    ws, events = await stream(), [cart() for _ in range(200)]
    for one in events:
        await ws.send(json.dumps(one))
    closing = asyncio.ensure_future(ws.close())
    for one in events:
        is_ack(await hear(ws), one["data"]["eventId"])
    await closing
    equal(ws.close_code, 1000)


@case_async("open")
async def many_at_once_in_order():
    ws, events = await stream(), [cart() for _ in range(3000)]

    async def send():
        for one in events:
            await ws.send(json.dumps(one))
    sending = asyncio.ensure_future(send())
    for one in events:
        is_ack(await hear(ws), one["data"]["eventId"])
    await sending
    await ws.close()
    stored("select 1 from cart_events where id = any(%s)", [one["data"]["eventId"] for one in events], count=3000)


# ── the debug doors ──────────────────────────────────────────────────────────────────────────────

@case_async("open")
async def echo_returns_what_it_was_sent():
    for compression in ("deflate", None):
        async with connect("/echo", compression=compression) as ws:
            for message in ("", b"", "ä€😀", bytes(range(256)) * 300, "x" * 125, "x" * 126, "x" * 65535, "x" * 65536):
                await ws.send(message)
                equal(await asyncio.wait_for(ws.recv(), PATIENCE), message, f"{len(message)} {compression}")


@case_async("open")
async def echo_of_16_mebibytes():
    message = os.urandom(1 << 10) * (16 << 10)
    for compression in ("deflate", None):
        async with connect("/echo", compression=compression) as ws:
            await ws.send(message)
            true(await asyncio.wait_for(ws.recv(), PATIENCE) == message, "the same 16 MiB")


@case_async("open")
async def sink_counts():
    async with connect("/sink") as ws:
        for number in range(1000):
            await ws.send("text" if number % 2 else b"COUNT")
        await ws.send("COUNT")
        equal(await asyncio.wait_for(ws.recv(), PATIENCE), "1000")


# ── by hand ──────────────────────────────────────────────────────────────────────────────────────

@case("open")
def what_breaks_the_protocol_is_told_so():
    for what, data, code in [
            ("no mask", frame(TEXT, b"hi", masked=False), 1002),
            ("a reserved bit", frame(TEXT, b"hi", reserved=1), 1002),
            ("RSV1 without the extension", frame(TEXT, b"hi", reserved=4), 1002),
            ("opcode 3", frame(3, b"hi"), 1002),
            ("opcode 11", frame(11), 1002),
            ("a ping of 126 bytes", frame(PING, b"x" * 126), 1002),
            ("a ping in fragments", frame(PING, b"x", final=False), 1002),
            ("a continuation of nothing", frame(0, b"x"), 1002),
            ("a text within a text", frame(TEXT, b"a", final=False) + frame(TEXT, b"b"), 1002),
            ("a close of one byte", frame(CLOSE, b"x"), 1002),
            ("close 1005", frame(CLOSE, struct.pack(">H", 1005)), 1002),
            ("close 999", frame(CLOSE, struct.pack(">H", 999)), 1002),
            ("close 5000", frame(CLOSE, struct.pack(">H", 5000)), 1002),
            ("a reason that is no UTF-8", frame(CLOSE, struct.pack(">H", 1000) + b"\xff"), 1007),
            ("a length with its top bit", b"\x82\xff" + b"\xff" * 8 + b"key!", 1002),
            ("more than limits.message_bytes", frame(BINARY, length=(16 << 20) + 1), 1009),
            ("more in fragments", frame(BINARY, b"x", final=False) + frame(0, length=16 << 20), 1009)]:
        with Raw("/events/stream") as ws:
            ws.frame()
            ws.send(data)
            ws.closes_with(code, what)


@case("open")
def invalid_utf8_is_1007_before_the_message_ends():
    for bad in (b"\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\xe2\x82\x28"):
        text = b"good \xc3\xa4 so far " + bad
        whole = frame(TEXT, text + b" and much more" * 100)
        for data in (frame(TEXT, text, final=False), whole[:8 + len(text)], frame(TEXT, b"", final=False) + frame(0, text, final=False)):
            with Raw("/echo") as ws:
                ws.send(data)
                ws.closes_with(1007, bad)


@case("open")
def fragments_65537():
    for payload in (b"x", b""):
        data = frame(BINARY, payload, final=False) + frame(0, payload, final=False) * 65535 + frame(0, b"end")
        with Raw("/echo") as ws:
            ws.send(data)
            first, echoed = ws.frame()
            equal((first, len(echoed)), (0x80 | BINARY, 65536 * len(payload) + 3))


@case("open")
def frames_cut_at_every_byte():
    text = json.dumps(cart()).encode()
    data = frame(PING, b"p") + frame(TEXT, text[:50], final=False) + frame(0, text[50:])
    with Raw("/events/stream") as ws:
        ws.frame()
        for at in range(1, len(data)):
            ws.send(data[:at])
            ws.send(data[at:])
            equal(ws.frame(), (0x80 | PONG, b"p"))
            equal(json.loads(ws.frame()[1])["status"], "accepted" if at == 1 else "duplicate")


@case("open")
def frames_right_behind_the_handshake():
    with Raw("/echo", first=frame(TEXT, b"early")) as ws:
        equal(ws.frame(), (0x80 | TEXT, b"early"))


KEY = "Sec-WebSocket-Key: " + base64.b64encode(bytes(16)).decode()
GOOD = ["Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", KEY]


def shake(path, lines, first="GET {} HTTP/1.1"):
    with Http() as http:
        http.send("\r\n".join([first.format(path)] + lines) + "\r\n\r\n")
        return http.read()


@case("open")
def handshakes_that_are_refused():
    for leave_out, put_in, status in [(3, "Sec-WebSocket-Version: 8", 426), (3, "Sec-WebSocket-Version: 13, 8", 426),
                                      (3, "X: y", 426), (4, "Sec-WebSocket-Key: short", 400), (4, "X: y", 400),
                                      (1, "Upgrade: h2c", 426), (2, "Connection: close", 426), (0, "X: y", 400),
                                      (None, "Sec-WebSocket-Version: 13", 426), (None, KEY, 400), (None, "Host: y", 400),
                                      (None, "Origin: http://localhost:3000\r\nOrigin: http://evil", 403),
                                      (None, "Content-Length: 1", 400), (None, "Transfer-Encoding: chunked", 400),
                                      (None, "Sec-WebSocket-Extensions: a;", 400)]:
        lines = [put_in if at == leave_out else line for at, line in enumerate(GOOD)] + [put_in] * (leave_out is None)
        for path in ("/events/stream", "/ws/live"):
            answer = shake(path, lines)
            equal(answer.status, status, f"{put_in} at {path}")
            if leave_out == 3:
                equal(answer.headers["sec-websocket-version"], "13")
    for path in ("/events/stream", "/ws/live"):
        equal(shake(path, GOOD, "GET {} HTTP/1.0").status, 426)


@case("open")
def handshakes_in_other_words():
    for lines in (["host:x", "UPGRADE: WebSocket", "connection:upgrade", "sec-websocket-version: \t13 ", KEY.lower()[:18] + KEY[18:] + "  "],
                  GOOD[:1] + ["Upgrade: h2c", "Connection: keep-alive", "Connection: Upgrade, x", "Upgrade: websocket"] + GOOD[3:],
                  GOOD + ["Sec-WebSocket-Extensions: x%d; y" % at for at in range(80)]):
        for path in ("/events/stream", "/ws/live", "/socket.io/?EIO=4&transport=websocket"):
            equal(shake(path, lines).status, 101, f"{lines} at {path}")
    answer = shake("/echo", GOOD + ["Sec-WebSocket-Extensions: x", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15"])
    true("server_max_window_bits=15" in answer.headers["sec-websocket-extensions"], answer.headers)


@case("open")
def a_bomb_of_zeros_is_1009():
    """20 MiB that come as 20 KiB."""
    import zlib
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(bytes(20 << 20)) + packer.flush(zlib.Z_SYNC_FLUSH)
    with Raw("/echo", headers="Sec-WebSocket-Extensions: permessage-deflate\r\n") as ws:
        ws.send(frame(BINARY, packed[:-4], reserved=4))
        ws.closes_with(1009, "a bomb")


# ── strict: tokens and rates ─────────────────────────────────────────────────────────────────────

def bearer(**claims):
    return {"Authorization": "Bearer " + token(**claims)}


@case_async("strict")
async def without_a_good_token_401_before_the_upgrade():
    equal(await refusal(), 401)
    equal(await refusal("/events/stream?token=nonsense"), 401)
    equal(await refusal(extra_headers={"Authorization": "Bearer " + token(secret=b"not the secret of this server at all")}), 401)
    equal(await refusal(extra_headers=bearer(exp=int(time.time()) - 5)), 401)


@case_async("strict")
async def a_token_in_either_place_speaks_for_its_user():
    for path, headers in (("/events/stream?token=" + token(sub="u-5", tenantId="t-5"), {}),
                          ("/events/stream", bearer(sub="u-5", tenantId="t-5"))):
        ws, one = await stream(path, extra_headers=headers), fresh()
        is_ack(await ask(ws, {"type": "event", "data": {"type": "t", "id": one}}), one)
        equal(stored("select user_id, tenant_id from events where id = %s", one), [("u-5", "t-5")])
        is_error(await ask(ws, cart(userId="u-6", eventId="bad")), "FORBIDDEN", "bad")
        is_ack(await ask(ws, cart(userId="u-5", eventId=one + "b")), one + "b")
        await ws.close()


@case_async("strict")
async def a_token_that_expires_closes_the_connection():
    for seconds in (2, 4, 8, 16):  # more, if so little is over before the handshake is
        try:
            ws = await stream(extra_headers=bearer(exp=int(time.time()) + seconds))
            break
        except websockets.exceptions.InvalidStatusCode:
            continue
    is_error(await hear(ws), "UNAUTHORIZED")
    try:
        await asyncio.wait_for(ws.recv(), PATIENCE)
        raise AssertionError("it stays open")
    except websockets.exceptions.ConnectionClosed as closed:
        equal(closed.rcvd.code, 1008)


@case_async("strict")
async def too_many_events_a_second_are_refused_one_by_one():
    ws, events = await stream(extra_headers=bearer()), [cart() for _ in range(100)]
    for one in events:
        await ws.send(json.dumps(one))
    accepted = []
    for one in events:
        answer = await hear(ws)
        if answer["type"] == "ack":
            accepted.append(answer["eventId"])
        else:
            is_error(answer, "RATE_LIMITED", one["data"]["eventId"])
    true(20 <= len(accepted) < 100, f"a second's worth and what came back meanwhile, not {len(accepted)}")
    stored("select 1 from cart_events where id = any(%s)", accepted, count=len(accepted))
    answer = await ask(ws, {"type": "batch", "data": [{"type": "t", "id": fresh()} for _ in range(200)]})
    equal(answer["accepted"] + len(answer["rejected"]), 200, answer)
    equal({one["code"] for one in answer["rejected"]}, {"RATE_LIMITED"})
    await ws.close()


# ── full: Postgres is away and the spool is 4 MiB ────────────────────────────────────────────────

@case_async("full")
async def a_full_node_reads_no_more_and_goes_on_when_there_is_room():
    """Nothing is refused, the producer just waits; and all of it arrives."""
    ws, sent, full = await stream(compression=None), [], asyncio.Event()
    loop = asyncio.get_running_loop()

    async def send():
        while not full.is_set():
            one = cart(metadata={"x": "y" * 20000})
            sent.append(one["data"]["eventId"])
            await ws.send(json.dumps(one))
    sending = asyncio.ensure_future(send())

    def throttled():
        if sending.done():
            sending.result()
        return metric("ringmain_throttled_connections") >= 1
    await loop.run_in_executor(None, until, throttled, "it is throttled")
    full.set()
    start = ["bash", "tests/tools/postgres.sh", "start", os.environ["TMP"] + "/pg", "fsync=off"]
    await loop.run_in_executor(None, lambda: subprocess.run(start, check=True, stdout=subprocess.DEVNULL))
    heard = 0
    while heard < len(sent) or not sending.done():
        if heard == len(sent):
            await sending
            continue
        is_ack(await hear(ws), sent[heard])
        heard += 1
    await ws.close()
    true(heard > 100, "4 MiB hold more")
    stored("select 1 from cart_events where id = any(%s)", sent, count=len(sent))
    until(lambda: get("/health").json()["status"] == "ok", "healthy again")


run()
