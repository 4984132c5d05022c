# SPDX-License-Identifier: Apache-2.0
"""What `promtool check metrics` demands of a Prometheus text (0.0.4), where promtool is not to be had. Two steps, as there:

parse()  the format: a family's HELP and TYPE come once and before its samples, the type is known, names and labels are well
         formed, no label comes twice in a sample, escapes are \\\\ \\n \\" and the value is a float, a timestamp an integer.
         Beyond promtool: a family's lines stand together, as the format has it, and the text is UTF-8 and ends its last line.
lint()   the names: a HELP; base units (seconds and no minutes or milliseconds, bytes and no bits or kilobytes …) and none
         abbreviated; a counter, and only a counter, ends in _total; only a histogram in _bucket, only it and a summary in
         _count and _sum; `le` and `quantile` are theirs; _timestamp_seconds is a gauge's; no type's word in a name; no colon;
         no camelCase, in labels neither; no series twice.

The rules are those of client_golang's promlint and of prometheus/common's expfmt, as of 2025."""
import re

TYPES = ("counter", "gauge", "histogram", "summary", "untyped", "gauge_histogram")
BASE = {"seconds": "minutes hours days weeks", "celsius": "fahrenheit rankine", "kelvin": "kelvins", "bytes": "bits",
        "meters": "inches yards miles", "metres": "", "joules": "calories", "grams": "pounds ounces", "amperes": "", "volts": ""}
PREFIXES = "pico nano micro milli centi deci deca hecto kilo kibi mega mibi giga gibi tera tebi peta pebi".split()
ABBREVIATED = "s ms us ns sec b kb mb gb tb pb m h d".split()
UNITS = {unit: base for base, others in BASE.items() for unit in [base] + others.split()}
NAME, LABEL = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*"), re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\n"])*)"')


class Malformed(Exception):
    pass


class Family:
    def __init__(self, name):
        self.name, self.help, self.type, self.samples = name, None, None, []


def family_of(families, name):
    """That of a sample: a histogram's have its name and an ending."""
    for ending in ("", "_bucket", "_sum", "_count"):
        base = name[:len(name) - len(ending)] if name.endswith(ending) else None
        family = families.get(base)
        if family and (ending == "" or family.type == "histogram" or (family.type == "summary" and ending != "_bucket")):
            return family
    return families.setdefault(name, Family(name))


def comment(families, line):
    words = line.split(" ", 3)
    if len(words) < 2 or words[1] not in ("HELP", "TYPE"):
        return None
    if len(words) < 4 or not NAME.fullmatch(words[2]):
        raise Malformed("no HELP or TYPE of anything")
    family = families.setdefault(words[2], Family(words[2]))
    if words[1] == "HELP":
        if family.help is not None or re.search(r'\\[^\\n"]|(?<!\\)(\\\\)*\\$', words[3]):
            raise Malformed("a second HELP, or an unknown escape in it")
        family.help = words[3]
    else:
        if family.type is not None or family.samples or words[3] not in TYPES:
            raise Malformed("a second TYPE, one behind its samples, or an unknown one")
        family.type = words[3]
    return family


def labels_of(text):
    labels, at = {}, 0
    while at < len(text):
        label = LABEL.match(text, at)
        if not label or label[1] in labels or label[1] == "__name__":
            raise Malformed("labels")
        labels[label[1]] = label[2]
        at = label.end()
        if at < len(text) and text[at] != ",":
            raise Malformed("labels")
        at += 1
    return labels


def sample(families, line):
    name = NAME.match(line)
    if not name:
        raise Malformed("a name")
    rest, labels = line[name.end():], {}
    if rest.startswith("{"):
        whole = re.match(r'\{((?:[^"}]|"(?:[^"\\\n]|\\.)*")*)\}', rest)
        if not whole:
            raise Malformed("labels")
        labels, rest = labels_of(whole[1]), rest[whole.end():]
    words = rest.split()
    if not rest.startswith(" ") or not 1 <= len(words) <= 2 or re.search("[pP_]", words[0]):
        raise Malformed("a value")
    try:
        float(words[0])
        [int(word) for word in words[1:]]
    except ValueError:
        raise Malformed("a value or a timestamp") from None
    family = family_of(families, name[0])
    family.type = family.type or "untyped"
    family.samples.append((name[0], labels))
    return family


def parse(data):
    """The families of a text, in their order."""
    families, done, current = {}, set(), None
    if data and not data.endswith(b"\n"):
        raise Malformed("the last line has no end")
    for number, line in enumerate(data.decode().split("\n")[:-1], 1):
        try:
            family = comment(families, line) if line.startswith("#") else sample(families, line) if line.strip() else None
            if family and family is not current:
                if family.name in done:
                    raise Malformed("its family has ended before")
                done.add(family.name)
                current = family
        except Malformed as wrong:
            raise Malformed("line %d: %s: %s" % (number, wrong, line)) from None
    return [family for family in families.values() if family.samples]


def unit_of(word):
    """(as it stands there, its base), or None."""
    for prefix in [""] + PREFIXES:
        if word.startswith(prefix) and word[len(prefix):] in UNITS:
            return UNITS[word[len(prefix):]]
    return None


def complaints(family):
    name, kind = family.name, family.type
    words = name.lower().split("_")
    labels = {label for _, has in family.samples for label in has}
    if family.help is None:
        yield "no help text"
    units = [(word, unit_of(word)) for word in name.split("_") if unit_of(word)]
    if units and units[0][0] != units[0][1]:
        yield "use base unit %s instead of %s" % (units[0][1], units[0][0])
    if kind == "counter" and not name.endswith("_total"):
        yield "a counter without _total"
    if kind not in ("counter", "untyped") and name.endswith("_total"):
        yield "_total and no counter"
    if kind not in ("gauge", "untyped") and name.endswith("_timestamp_seconds"):
        yield "_timestamp_seconds and no gauge"
    if kind != "untyped":
        if kind != "histogram" and (name.endswith("_bucket") or "le" in labels):
            yield "_bucket or le, and no histogram"
        if kind not in ("histogram", "summary") and name.endswith(("_count", "_sum")):
            yield "_count or _sum, and neither histogram nor summary"
        if kind != "summary" and "quantile" in labels:
            yield "quantile, and no summary"
    if any("_%s_" % type_ in name.lower() or name.lower().endswith("_" + type_) for type_ in TYPES if type_ != "untyped"):
        yield "a type in the name"
    if ":" in name:
        yield "a colon in the name"
    if any(re.search("[a-z][A-Z]", text) for text in labels | {name}):
        yield "camelCase"
    if any(word in ABBREVIATED for word in words[1:]):
        yield "an abbreviated unit"
    series = [(of, tuple(sorted(has.items()))) for of, has in family.samples]
    if len(set(series)) < len(series):
        yield "a series twice"


def lint(families):
    """[(family's name, what is wrong with it)]"""
    return [(family.name, complaint) for family in families for complaint in complaints(family)]
