# SPDX-License-Identifier: Apache-2.0
"""What the Autobahn testsuite asks of a server, case by case and by its numbers: 517 of them, against the door /echo.

    autobahn.py [NUMBER…]    all of it, or what begins with a number: 6.4, 12.1.3; prints a line a group

Written from what its cases send and expect. It asks for more than the suite does: where that takes a dropped connection
or an empty close frame, here the close code has to come; and what is echoed is compared byte for byte. It sends fewer
compressed messages; MESSAGES=1000 sends as many.
"""
import json
import os
import random
import sys
import time
import traceback
import zlib
from functools import partial

from client import equal, true
from ws_raw import BINARY, CLOSE, FINAL, PING, PONG, RSV1, TEXT, Raw, frame

NORMAL, PROTOCOL, INVALID = 1000, 1002, 1007
REST = 0  # the opcode of a continuation
MESSAGES = int(os.environ.get("MESSAGES", 0))
FEW_BYTES, FEW = 1 << 17, 20  # what a compressed case sends if it is not told how many messages

cases = {}  # number: what plays it; raises if it fails


# ── how frames are cut, and what is played ───────────────────────────────────────────────────────

def chops(data, size):
    return [data[at:at + size] for at in range(0, len(data), size)]


def ways(frames):
    """In one write, a write a frame, a write an octet."""
    whole = b"".join(frames)
    return [whole], frames, chops(whole, 1)


def fragments(kind, payload, size, reserved=0):
    """A message in frames of at most this size."""
    parts = chops(payload, size) or [b""]
    return [frame(kind if at == 0 else REST, part, final=at == len(parts) - 1, reserved=reserved if at == 0 else 0)
            for at, part in enumerate(parts)]


def closing(code=NORMAL, reason=b""):
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def hear(ws, events):
    for kind, payload in events:
        first, got = ws.frame()
        equal(first, FINAL | kind)
        true(got == payload, f"{got[:80]!r} ({len(got)}) instead of {payload[:80]!r} ({len(payload)})")


def end(ws):
    ws.send(closing())
    ws.closes_with(NORMAL, "the end")


def play(pieces, heard=(), code="ours"):
    """Sends the pieces, each in a write of its own, and hears what is given; then the server closes with `code`, or we do."""
    with Raw("/echo") as ws:
        for piece in pieces:
            ws.send(piece)
        hear(ws, heard)
        if code == "ours":
            end(ws)
        else:
            ws.closes_with(code, heard)


def play_echo(kind, unit, length, fragment=None, chop=None):
    """A message made of repetitions of `unit`, in fragments or in chops."""
    payload = (unit * (length // len(unit) + 1))[:length]
    data = b"".join(fragments(kind, payload, fragment or length))
    play(chops(data, chop or length + 64), [(kind, payload)])


def play_in_turn(kind, unit, length):
    """A thousand messages, each sent when the one before it has come back."""
    payload = unit * length
    with Raw("/echo") as ws:
        for _ in range(1000):
            ws.send(frame(kind, payload))
            hear(ws, [(kind, payload)])
        end(ws)


def add(number, *what, **more):
    cases[number] = partial(play, *what, **more)


# ── 1 to 5: framing, pings, reserved bits and opcodes, fragments ─────────────────────────────────

HELLO, NOISE = b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
ECHOED = [(TEXT, HELLO)]

for at, length in enumerate((0, 125, 126, 127, 128, 65535, 65536, 65536), 1):
    for group, kind, unit in ((1, TEXT, b"*"), (2, BINARY, b"\xfe")):
        data = frame(kind, unit * length)
        add(f"1.{group}.{at}", chops(data, 997) if at == 8 else [data], [(kind, unit * length)])

for at, payload in enumerate((b"", HELLO, NOISE, b"\xfe" * 125), 1):
    add(f"2.{at}", [frame(PING, payload)], [(PONG, payload)])
add("2.5", [frame(PING, b"\xfe" * 126)], code=PROTOCOL)
add("2.6", chops(frame(PING, b"\xfe" * 125), 1), [(PONG, b"\xfe" * 125)])
add("2.7", [frame(PONG)])
add("2.8", [frame(PONG, b"nobody asked")])
add("2.9", [frame(PONG, b"nobody asked") + frame(PING, b"but now")], [(PONG, b"but now")])
ten = [b"payload-%d" % at for at in range(10)]
for number, pieces in zip(("2.10", None, "2.11"), ways([frame(PING, payload) for payload in ten])):
    if number:
        add(number, pieces, [(PONG, payload) for payload in ten])

add("3.1", [frame(TEXT, HELLO, reserved=1)], code=PROTOCOL)
for at in (2, 3, 4):
    frames = [frame(TEXT, HELLO), frame(TEXT, HELLO, reserved=at), frame(PING)]
    add(f"3.{at}", ways(frames)[at - 2], ECHOED, PROTOCOL)
add("3.5", [frame(BINARY, NOISE, reserved=5)], code=PROTOCOL)
add("3.6", [frame(BINARY, HELLO, reserved=6)], code=PROTOCOL)
add("3.7", [frame(CLOSE, reserved=7)], code=PROTOCOL)

for group, opcode in ((1, 3), (2, 11)):
    add(f"4.{group}.1", [frame(opcode)], code=PROTOCOL)
    add(f"4.{group}.2", [frame(opcode + 1, HELLO)], code=PROTOCOL)
    for at, payload, way in ((3, b"", 0), (4, HELLO, 0), (5, HELLO, 2)):
        frames = [frame(TEXT, HELLO), frame(opcode + at - 1, payload), frame(PING)]
        add(f"4.{group}.{at}", ways(frames)[way], ECHOED, PROTOCOL)

for at, opcode in ((1, PING), (2, PONG)):
    add(f"5.{at}", [frame(opcode, b"one", final=False) + frame(REST, b"two")], code=PROTOCOL)
for way in range(3):
    first, last, ping = frame(TEXT, b"one", final=False), frame(REST, b"two"), frame(PING, b"between")
    add(f"5.{3 + way}", ways([first, last])[way], [(TEXT, b"onetwo")])
    add(f"5.{6 + way}", ways([first, ping, last])[way], [(PONG, b"between"), (TEXT, b"onetwo")])
    for number, final in ((9 + way, True), (12 + way, False)):
        add(f"5.{number}", ways([frame(REST, b"of nothing", final=final), frame(TEXT, HELLO)])[way], code=PROTOCOL)
add("5.15", [first + last + frame(REST, b"three", final=False) + frame(TEXT, b"four")], [(TEXT, b"onetwo")], PROTOCOL)
for number, final in (("5.16", False), ("5.17", True)):
    add(number, [(frame(REST, b"zero", final=final) + first + last) * 2], code=PROTOCOL)
add("5.18", [first + frame(TEXT, b"two")], code=PROTOCOL)


def play_pings_within(way):
    """The first ping is answered while the message is still on its way."""
    with Raw("/echo") as ws:
        for first, final in ((True, False), (False, True)):
            frames = [frame(TEXT if first else REST, b"1", final=False), frame(REST, b"2", final=False),
                      frame(PING, b"%d" % first)] + ([frame(REST, b"3")] if final else [])
            for piece in ways(frames)[way]:
                ws.send(piece)
            hear(ws, [(PONG, b"%d" % first)])
        hear(ws, [(TEXT, b"12123")])
        end(ws)


cases["5.19"], cases["5.20"] = partial(play_pings_within, 0), partial(play_pings_within, 1)


# ── 6: UTF-8 ─────────────────────────────────────────────────────────────────────────────────────

GREEK = "κ\u1f79σμε".encode()  # 2, 3, 2, 2 and 2 octets
ACCENTS = "Hello-µ@ßöäüàá-UTF-8!!".encode()
middle = b"all in the middle"
add("6.1.1", [frame(TEXT)], [(TEXT, b"")])
add("6.1.2", [frame(TEXT, final=False) + frame(REST, final=False) + frame(REST)], [(TEXT, b"")])
add("6.1.3", [frame(TEXT, final=False) + frame(REST, middle, final=False) + frame(REST)], [(TEXT, middle)])
for number, text, size in (("6.2.1", ACCENTS, 99), ("6.2.2", ACCENTS, 14), ("6.2.3", ACCENTS, 1), ("6.2.4", GREEK, 1)):
    add(number, [b"".join(fragments(TEXT, text, size))], [(TEXT, text)])
for number, size in (("6.3.1", 99), ("6.3.2", 1)):
    add(number, [b"".join(fragments(TEXT, GREEK + b"\xed\xa0\x80edited", size))], code=INVALID)


def play_fail_fast(good, bad, in_fragments):
    """Told as soon as `bad` is there, though more is to come; and not before."""
    rest = b"\x80\x80edited"
    if in_fragments:
        pieces = [frame(TEXT, good, final=False), frame(REST, bad, final=False)]
    else:
        data = frame(TEXT, good + bad + rest)
        pieces = [data[:6 + len(good)], data[6 + len(good):6 + len(good) + len(bad)]]
    with Raw("/echo") as ws:
        ws.send(pieces[0])
        true(not ws.heard(0.05), "nothing is wrong yet")
        ws.send(pieces[1])
        ws.closes_with(INVALID, bad)


for at, in_fragments in ((1, True), (3, False)):
    cases[f"6.4.{at}"] = partial(play_fail_fast, GREEK, b"\xf4\x90\x80\x80", in_fragments)
    cases[f"6.4.{at + 1}"] = partial(play_fail_fast, GREEK + b"\xf4", b"\x90", in_fragments)

cut = ["c0", "e080", "f08080", "f8808080", "fc80808080", "df", "efbf", "f7bfbf", "fbbfbfbf", "fdbfbfbfbf"]
nobody = [f"{plane:02x}{row}bf{last}" for plane in range(0xf0, 0xf5) for row in ("8f", "9f", "af", "bf") for last in ("be", "bf")
          if (plane, row) != (0xf0, "8f") and (plane != 0xf4 or row == "8f")]
for group, texts in enumerate([
        [b"hello" + "$".encode() + b"world", "hello¢world", "hello€world", "hello𤭢world", GREEK],
        [GREEK[:at] for at in range(1, len(GREEK) + 1)],
        ["00", "c280", "e0a080", "f0908080"],
        ["f888808080", "fc8480808080"],
        ["7f", "dfbf", "efbfbf", "f48fbfbf"],
        ["f7bfbfbf", "fbbfbfbfbf", "fdbfbfbfbfbf"],
        ["ed9fbf", "ee8080", "efbfbd", "f48fbfbf", "f4908080"],
        ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf", bytes(range(0x80, 0xbf))],
        [b" ".join(bytes([byte]) for byte in range(*ends)) + b" "
         for ends in ((0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd))],
        cut,
        ["".join(cut)],
        ["fe", "ff", "fefeffff"],
        ["c0af", "e080af", "f08080af", "f8808080af", "fc80808080af"],
        ["c1bf", "e09fbf", "f08fbfbf", "f887bfbfbf", "fc83bfbfbfbf"],
        ["c080", "e08080", "f0808080", "f880808080", "fc8080808080"],
        ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"],
        [high + low for high in ("eda080", "edadbf", "edae80", "edafbf") for low in ("edb080", "edbfbf")],
        ["efbfbe", "efbfbf"] + nobody,
        ["efbfb9", "efbfba", "efbfbb", "efbfbc", "efbfbd", "efbfbe", "efbfbf"]], 5):
    for at, text in enumerate(texts, 1):
        if isinstance(text, str):
            text = text.encode() if text.startswith("hello") else bytes.fromhex(text)
        try:
            text.decode()  # strict, as RFC 3629
            add(f"6.{group}.{at}", [frame(TEXT, text)], [(TEXT, text)])
        except UnicodeDecodeError:
            add(f"6.{group}.{at}", [frame(TEXT, text)], code=INVALID)


# ── 7: closing ───────────────────────────────────────────────────────────────────────────────────

long = b"BAsd7&jh23" * 26215
add("7.1.1", [frame(TEXT, HELLO)], ECHOED)
for at, behind in ((2, frame(CLOSE)), (3, frame(PING)), (4, frame(TEXT, HELLO))):
    add(f"7.1.{at}", [closing() + behind], code=NORMAL)
add("7.1.5", [first + closing() + last], code=NORMAL)
add("7.1.6", [frame(TEXT, long) + frame(TEXT, HELLO) + closing() + frame(PING)], [(TEXT, long)] + ECHOED, NORMAL)
add("7.3.1", [frame(CLOSE)], code=None)
add("7.3.2", [frame(CLOSE, b"a")], code=PROTOCOL)
for at, reason, code in ((3, b"", NORMAL), (4, HELLO, NORMAL), (5, b"*" * 123, NORMAL), (6, b"*" * 124, PROTOCOL)):
    add(f"7.3.{at}", [closing(NORMAL, reason)], code=code)
add("7.5.1", [closing(NORMAL, GREEK + b"\xed\xa0\x80edited")], code=INVALID)
for at, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
    add(f"7.7.{at}", [closing(code)], code=code)
for at, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
    add(f"7.9.{at}", [closing(code)], code=PROTOCOL)
for at, code in ((1, 5000), (2, 65535)):  # the suite only takes note
    add(f"7.13.{at}", [closing(code)], code=PROTOCOL)


# ── 9, 10: sizes ─────────────────────────────────────────────────────────────────────────────────

KIB, MIB = 1 << 10, 1 << 20
UNITS = ((TEXT, b"BAsd7&jh23"), (BINARY, b"\x00\xfe\x23\xfa\xf0"))
for group, (kind, unit) in enumerate(UNITS, 1):
    for at, length in enumerate((64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB), 1):
        cases[f"9.{group}.{at}"] = partial(play_echo, kind, unit, length)
for group, (kind, unit) in enumerate(((TEXT, b"*"), (BINARY, b"\xfe")), 3):
    for at in range(9):
        cases[f"9.{group}.{at + 1}"] = partial(play_echo, kind, unit, 4 * MIB, fragment=64 << 2 * at)
for group, (kind, unit) in enumerate(UNITS, 5):
    for at in range(6):
        cases[f"9.{group}.{at + 1}"] = partial(play_echo, kind, unit, MIB, chop=64 << at)
for group, (kind, unit) in enumerate(((TEXT, b"*"), (BINARY, b"\xfe")), 7):
    for at, length in enumerate((0, 16, 64, 256, 1024, 4096), 1):
        cases[f"9.{group}.{at}"] = partial(play_in_turn, kind, unit, length)
cases["10.1.1"] = partial(play_echo, TEXT, b"*", 65536, fragment=1300)


# ── 12, 13: permessage-deflate ───────────────────────────────────────────────────────────────────

def agreed(ws, wanted):
    """What the server agreed to, checked against what was wanted of it: name → value."""
    name, *parameters = [part.strip() for part in ws.agreed.split(";")]
    equal(name, "permessage-deflate")
    terms = dict(part.partition("=")[::2] for part in parameters)
    if "server_no_context_takeover" in wanted:
        true("server_no_context_takeover" in terms, terms)
    if "server_max_window_bits" in wanted:
        true(8 <= int(terms["server_max_window_bits"]) <= wanted["server_max_window_bits"], terms)
    return terms


class Packer:
    """Our end's compression, on the terms that were agreed."""

    def __init__(self, terms):
        self.terms, self.packer, self.unpacker = terms, None, None

    def pack(self, message):
        if self.packer is None or "client_no_context_takeover" in self.terms:
            self.packer = zlib.compressobj(6, zlib.DEFLATED, -int(self.terms.get("client_max_window_bits", 15)))
        return (self.packer.compress(message) + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]

    def unpack(self, message):
        if self.unpacker is None or "server_no_context_takeover" in self.terms:
            self.unpacker = zlib.decompressobj(-int(self.terms.get("server_max_window_bits", 15)))
        return self.unpacker.decompress(message + b"\x00\x00\xff\xff")


def play_compressed(offers, kind, data, size, fragment):
    """Messages that are cut from the data, each sent when the one before it has come back."""
    texts = ["; ".join(["permessage-deflate", "client_no_context_takeover", "client_max_window_bits"] +
                       [name if value is None else f"{name}={value}" for name, value in offer.items()]) for offer in offers]
    count, at = MESSAGES or max(2, min(FEW, FEW_BYTES // size)), 0
    with Raw("/echo", headers=f"Sec-WebSocket-Extensions: {', '.join(texts)}\r\n") as ws:
        packer = Packer(agreed(ws, offers[0]))
        for _ in range(count):
            message = (data + data)[at:at + size]
            at = (at + size) % len(data)
            packed = packer.pack(message)
            ws.send(b"".join(fragments(kind, packed, fragment or len(packed), reserved=4)))
            first, got = ws.frame()
            equal(first & ~RSV1, FINAL | kind)
            true((packer.unpack(got) if first & RSV1 else got) == message, "what comes back is what was sent")
        end(ws)


def material():
    """Of five kinds, 200,000 bytes of each; what is sent as text is ASCII, for it is cut anywhere."""
    dice = random.Random(12)
    words = "Habe nun ach Philosophie Juristerei und Medizin und leider auch Theologie durchaus studiert".split() + ["heißem"]
    book = " ".join(dice.choice(words) for _ in range(40000)).encode("latin-1")
    picture = bytearray([128])
    while len(picture) < 200000:
        picture.append(max(0, min(255, picture[-1] + dice.randrange(-9, 10))))
    letters = json.dumps([{"id": at, "name": dice.choice(words), "at": dice.random()} for at in range(4000)]).encode()
    page = b"".join(b"<tr><td>%d</td><td class='x'>%x</td></tr>\n" % (at, dice.getrandbits(32)) for at in range(5000))
    return [(BINARY, book), (BINARY, bytes(picture)), (BINARY, dice.randbytes(200000)), (TEXT, letters), (TEXT, page)]


SIZES = [(16 << at, 0) for at in (0, 2, 4, 6, 8, 9, 10, 11, 12, 13)] + \
        [(8192 << at, 256) for at in range(5)] + [(131072, 1024), (131072, 4096), (131072, 32768)]
ALONE, SMALL, LARGE = {"server_no_context_takeover": None}, {"server_max_window_bits": 8}, {"server_max_window_bits": 15}
MATERIAL = material()
for group, (kind, data) in enumerate(MATERIAL, 1):
    for at, (size, fragment) in enumerate(SIZES, 1):
        cases[f"12.{group}.{at}"] = partial(play_compressed, [{}], kind, data, size, fragment)
for group, offers in enumerate(([{}], [ALONE], [SMALL], [LARGE], [{**ALONE, **SMALL}], [{**ALONE, **LARGE}],
                                [{**ALONE, **SMALL}, ALONE, {}]), 1):
    for at, (size, fragment) in enumerate(SIZES, 1):
        cases[f"13.{group}.{at}"] = partial(play_compressed, offers, *MATERIAL[3], size, fragment)


# ── all of it ────────────────────────────────────────────────────────────────────────────────────

def run(wanted):
    equal(len(cases), 517)
    chosen, failed = {}, 0
    for number in cases:
        if not wanted or any((number + ".").startswith(one + ".") for one in wanted):
            chosen.setdefault(number.split(".")[0], []).append(number)
    for group, numbers in sorted(chosen.items(), key=lambda item: int(item[0])):
        began, before = time.monotonic(), failed
        for number in numbers:
            try:
                cases[number]()
            except Exception:  # any reason at all fails the case, and only the case
                failed += 1
                print(f"not ok autobahn {number}")
                print("  # " + traceback.format_exc()[-1000:].replace("\n", "\n  # "))
        if failed == before:
            print(f"ok autobahn {group}: {len(numbers)} cases in {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run(sys.argv[1:])
