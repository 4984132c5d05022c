#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""SIGHUP with the first, second, third … allocation failing (tests/tools/failing_malloc.c), until one in which all of
them were made. Each is refused or goes well, and the process lives on."""
import os
import re
import signal
import struct
import urllib.request

from kit import case, finish, holds, until

COUNTDOWN = os.path.join(os.environ["TMP"], "countdown")
ALLOCATIONS_MAX = 20000


def verdicts():
    """How many were read, and how many refused."""
    with urllib.request.urlopen("http://%s/metrics" % os.environ["METRICS"], timeout=10) as answer:
        text = answer.read().decode()
    return [int(re.search('ringmain_reloads_total{result="%s"} ([0-9]+)' % result, text).group(1))
            for result in ("read", "refused")]


def arm(n):
    with open(COUNTDOWN, "r+b") as file:
        file.write(struct.pack("<ii", n, 0))


def left():
    with open(COUNTDOWN, "rb") as file:
        return struct.unpack("<ii", file.read())


def opens_the_door():
    """The configuration's key does: it was not read by half."""
    request = urllib.request.Request("http://%s/events" % os.environ["HTTP"], b'{"type":"t"}',
                                     {"Authorization": "Bearer " + os.environ["TOKEN"]})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status == 202


n, tries, failed, read = 1, 0, 1, 0
with case("SIGHUP without memory, at each allocation, is refused or goes well"):
    while failed:
        holds(n < ALLOCATIONS_MAX)
        arm(n)
        os.kill(int(os.environ["PID"]), signal.SIGHUP)
        until(tries + 1, lambda: sum(verdicts()), "verdicts after allocation %d failed:" % n)
        failed = left()[1]
        arm(0)
        tries += 1
        before, (read, refused) = read, verdicts()
        holds(read == before or opens_the_door(), "after allocation %d failed" % n)
        n += 1 if n < 400 else 13  # behind that it is libcrypto's reading of one PEM file
    holds(refused > 20 and read >= 1, refused, read)
    print("# %d allocations; without one of them %d times refused, %d times read" % (n, refused, read - 1))
finish()
