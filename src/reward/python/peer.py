# Values and calls between the two interpreters of a test: the judge, which holds the tests, and the
# program's, which holds nothing but the program. Part of both; joined with judge.py or program.py.
#
# Plain values travel by value and are rebuilt from types of the receiver's own, so that no method of
# the other side's objects ever runs here. Anything else stays where it is and is named by a number.
# Wire: frames of a 4-byte little-endian length and JSON. A value is a JSON scalar or [tag, ...].

import builtins
from _json import encode_basestring_ascii, make_encoder, make_scanner

MAX_FRAME = 64 << 20
MAX_DEPTH = 150
INT_LIMIT = 1 << 63
SCALARS = {type(None), bool, float, str}


class Gone(BaseException):
    """The other side is not there any more. Not an Exception: tests must not swallow it."""


class _Json:
    """What the scanner of _json wants to know. (Importing json would cost half as much as starting Python.)"""

    strict = False
    object_hook = object_pairs_hook = parse_constant = None
    parse_float, parse_int = float, int


_scan = make_scanner(_Json)
_print = make_encoder(None, None, encode_basestring_ascii, None, ":", ",", False, False, False)


def text_of(error):
    """One line about an exception; its own methods may be hostile."""
    try:
        text = str(error)
        text = str.__str__(text)[:400]
    except BaseException:
        text = ""
    name = type.__getattribute__(type(error), "__name__")
    return name + ": " + text if text else name


class Peer:
    """One end of a connection. `stand_in` is the class that represents objects of the other side."""

    def __init__(self, fd, stand_in, operations):
        self.fd = fd
        self.stand_in = stand_in
        self.operations = operations  # what the other side may ask for: name -> function(peer, values...)
        self.objects = []  # own objects that the other side knows by number; holds them alive
        self.numbers = {}  # id -> number
        self.known = {}  # number -> stand-in
        self.requests = 0

    # ---- frames

    def send(self, message):
        data = "".join(_print(message, 0)).encode("ascii")
        if len(data) > MAX_FRAME:
            raise OverflowError("a value of more than 64 MiB")
        data = len(data).to_bytes(4, "little") + data
        view = memoryview(data)
        try:
            while view:
                view = view[posix.write(self.fd, view):]
        except OSError:
            raise Gone from None

    def read(self, count):
        parts = []
        while count:
            try:
                part = posix.read(self.fd, min(count, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise Gone
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive(self):
        length = int.from_bytes(self.read(4), "little")
        if length > MAX_FRAME:
            raise Gone
        data = self.read(length)
        try:
            return _scan(data.decode("ascii"), 0)[0]
        except (ValueError, RecursionError, StopIteration):
            raise Gone from None

    # ---- values

    def reference(self, value):
        number = self.numbers.get(id(value))
        if number is None:
            number = self.numbers[id(value)] = len(self.objects)
            self.objects.append(value)
        return ["x", number, "c" if type(value).__name__ == "coroutine" else ""]

    def encode(self, value, depth=0):
        kind = type(value)
        if kind is int:
            return value if -INT_LIMIT < value < INT_LIMIT else ["i", hex(value)]
        if kind in SCALARS:
            if kind is float and not -1.8e308 < value < 1.8e308:
                return ["f", repr(value)]
            return value
        if depth > MAX_DEPTH:
            raise RecursionError("a value that is nested too deeply")
        encoder = ENCODERS.get(kind)
        if encoder is None:
            encoder = next((e for base, e in BASES if isinstance(value, base)), None)
        return encoder(self, value, depth + 1) if encoder else self.other(value, depth + 1)

    def other(self, value, depth):
        """What is not plain: a few types of the standard library by value, the rest by number."""
        kind = type(value)
        if kind is self.stand_in:
            return ["y", number_of(value)]
        module = getattr(kind, "__module__", None)
        name = module + "." + kind.__name__ if type(module) is str else ""
        if name in STANDARD and getattr(sys.modules.get(module), kind.__name__, None) is kind:
            return [name] + [self.encode(item, depth) for item in STANDARD[name](value)]
        if kind is type(sys):
            return ["m", str(value.__name__)]
        if isinstance(value, type) and getattr(builtins, kind.__getattribute__(value, "__name__"), None) is value:
            return ["T", value.__name__]
        if isinstance(value, type) and issubclass(value, BaseException):
            return ["e", names_of(value)]
        return self.reference(value)

    def items(self, values, depth):
        return [self.encode(item, depth) for item in values]

    def decode(self, data):
        if type(data) is not list:
            return data
        tag, rest = data[0], data[1:]
        if tag in SEQUENCES:
            return SEQUENCES[tag](map(self.decode, rest))
        return DECODERS[tag](self, rest) if tag in DECODERS else self.standard(tag, rest)

    def represent(self, number, kind):
        if number not in self.known:
            self.known[number] = self.stand_in(self, number)
        return awaited(self.known[number]) if kind == "c" else self.known[number]

    def module(self, name):
        if name.split(".")[0] not in sys.stdlib_module_names:
            raise NameError("module " + name)
        __import__(name)
        return sys.modules[name]

    def standard(self, tag, rest):
        if tag not in STANDARD:
            raise Gone
        module, name = tag.split(".")
        make = getattr(__import__(module), name)
        return make(*map(self.decode, rest)) if tag != "collections.deque" else make(self.decode(rest[0]), self.decode(rest[1]))

    # ---- requests

    def request(self, operation, *values):
        """Asks the other side; serves what it asks meanwhile (calls back) and gives its answer."""
        self.requests += 1
        self.send(["q", operation, self.items(values, 0)])
        while True:
            message = self.receive()
            if message[0] == "q":
                self.answer(message)
            elif message[0] == "a":
                self.refresh(values, message[2])
                return self.decode(message[1])
            else:
                raise self.rebuild(message[1], message[2], message[3])

    def answer(self, message):
        try:
            values = [self.decode(item) for item in message[2]]
            result = self.operations[message[1]](self, *values)
            changed = {}
            if message[1] == "call":
                for place in (1, 2):
                    now = self.encode(values[place])
                    if now != message[2][place]:
                        changed[str(place)] = now
            self.send(["a", self.encode(result), changed])
        except Gone:
            raise
        except BaseException as error:
            self.send(["e", names_of(type(error)), self.arguments(error), text_of(error) + self.place(error)])

    def arguments(self, error):
        try:
            return [self.encode(item) if type(item) in SCALARS or type(item) is int else None for item in error.args]
        except BaseException:
            return []

    def place(self, error):
        line, trace = None, error.__traceback__
        while trace:
            if trace.tb_frame.f_code.co_filename.endswith("/program.py"):
                line = trace.tb_lineno
            trace = trace.tb_next
        return " (line %d of the program)" % line if line else ""

    def refresh(self, values, changed):
        """Arguments that the other side changed in place are changed here too."""
        for place, data in changed.items():
            if place in ("1", "2"):
                renew(values[int(place)], self.decode(data))

    def rebuild(self, names, arguments, text):
        error = exception_class(names)
        try:
            made = error(*map(self.decode, arguments))
        except Exception:
            made = Exception.__new__(error)
        made.__dict__["_where"] = text
        return made

    def serve(self):
        while True:
            message = self.receive()
            if message[0] == "q":
                self.answer(message)


def renew(old, new):
    """Makes `old` equal to `new` in place where both are the same kind of container."""
    if type(old) is not type(new):
        return new
    if type(old) is list:
        old[:] = [renew(old[i], item) if i < len(old) else item for i, item in enumerate(new)]
    elif type(old) is tuple and len(old) == len(new):
        for was, item in zip(old, new):
            renew(was, item)
    elif isinstance(old, dict):
        renewed = {key: renew(old[key], item) if key in old else item for key, item in new.items()}
        old.clear()
        old.update(renewed)
    elif type(old) is set:
        old.clear()
        old.update(new)
    elif type(old) is bytearray:
        old[:] = new
    elif type(old).__name__ == "deque":
        old.clear()
        old.extend(new)
    else:
        return new
    return old


def number_of(stand_in):
    return object.__getattribute__(stand_in, "_number")


async def awaited(stand_in):
    """A coroutine of the other side, as one that event loops of this side accept."""
    return object.__getattribute__(stand_in, "_peer").request("await", stand_in)


def names_of(kind):
    return [str(base.__name__) for base in kind.__mro__ if base is not object]


_classes = {}


def exception_class(names):
    """The exception class of these names: a built-in one, or one of the same name derived from it."""
    known = getattr(builtins, names[0], None) if names else Exception
    if isinstance(known, type) and issubclass(known, BaseException):
        return known
    if names[0] not in _classes:
        _classes[names[0]] = type(names[0], (exception_class(names[1:]),), {})
    return _classes[names[0]]


def _named(peer, value, depth):
    fields = getattr(type(value), "_fields", None)
    if type(fields) is tuple and all(type(field) is str for field in fields):
        return ["n", type(value).__name__, list(fields)] + peer.items(tuple.__iter__(value), depth)
    return ["t"] + peer.items(tuple.__iter__(value), depth)


def _pairs(peer, value, depth):
    flat = []
    for key, item in dict.items(value):
        flat += (peer.encode(key, depth), peer.encode(item, depth))
    return flat


def _mapping(peer, value, depth):
    name = type(value).__name__
    tag = {"Counter": "C", "OrderedDict": "O", "defaultdict": "E"}.get(name, "d") if type(value).__module__ == "collections" else "d"
    return [tag] + _pairs(peer, value, depth)


ENCODERS = {
    list: lambda peer, value, depth: ["l"] + peer.items(value, depth),
    tuple: lambda peer, value, depth: ["t"] + peer.items(value, depth),
    set: lambda peer, value, depth: ["s"] + peer.items(value, depth),
    frozenset: lambda peer, value, depth: ["z"] + peer.items(value, depth),
    dict: lambda peer, value, depth: ["d"] + _pairs(peer, value, depth),
    bytes: lambda peer, value, depth: ["b", value.decode("latin-1")],
    bytearray: lambda peer, value, depth: ["B", value.decode("latin-1")],
    complex: lambda peer, value, depth: ["c", peer.encode(value.real), peer.encode(value.imag)],
    range: lambda peer, value, depth: ["r", peer.encode(value.start), peer.encode(value.stop), peer.encode(value.step)],
    type(NotImplemented): lambda peer, value, depth: ["N", 0],
    type(Ellipsis): lambda peer, value, depth: ["N", 1],
    type({}.keys()): lambda peer, value, depth: ["K"] + peer.items(value, depth),
    type({}.values()): lambda peer, value, depth: ["V"] + peer.items(value, depth),
    type({}.items()): lambda peer, value, depth: ["I"] + peer.items(value, depth),
}

# Subclasses of plain types lose their methods: what is compared is the value that they hold.
BASES = (
    (int, lambda peer, value, depth: peer.encode(int.__pos__(value))),
    (float, lambda peer, value, depth: peer.encode(float.__pos__(value))),
    (str, lambda peer, value, depth: str.__str__(value)),
    (bytes, lambda peer, value, depth: ["b", bytes.decode(value, "latin-1")]),
    (list, lambda peer, value, depth: ["l"] + peer.items(list.__iter__(value), depth)),
    (tuple, _named),
    (dict, _mapping),
    (set, lambda peer, value, depth: ["s"] + peer.items(set.__iter__(value), depth)),
    (frozenset, lambda peer, value, depth: ["z"] + peer.items(frozenset.__iter__(value), depth)),
)

# Types of the standard library that travel by value: how to take them apart; their own constructors put them together.
STANDARD = {
    "decimal.Decimal": lambda v: (str(v),),
    "fractions.Fraction": lambda v: (v.numerator, v.denominator),
    "collections.deque": lambda v: (list(v), v.maxlen),
    "datetime.date": lambda v: (v.year, v.month, v.day),
    "datetime.time": lambda v: (v.hour, v.minute, v.second, v.microsecond),
    "datetime.datetime": lambda v: (v.year, v.month, v.day, v.hour, v.minute, v.second, v.microsecond),
    "datetime.timedelta": lambda v: (v.days, v.seconds, v.microseconds),
}

SEQUENCES = {"l": list, "t": tuple, "s": set, "z": frozenset}


def _dict(peer, rest):
    return {peer.decode(key): peer.decode(item) for key, item in zip(rest[::2], rest[1::2])}


def _collection(name):
    def make(peer, rest):
        import collections

        return collections.defaultdict(None, _dict(peer, rest)) if name == "defaultdict" else getattr(collections, name)(_dict(peer, rest))

    return make


def _namedtuple(peer, rest):
    import collections

    return collections.namedtuple(rest[0], rest[1])(*map(peer.decode, rest[2:]))


def _builtin_type(peer, rest):
    found = getattr(builtins, rest[0])
    if not isinstance(found, type):
        raise TypeError("not a type")
    return found


DECODERS = {
    "i": lambda peer, rest: int(rest[0], 16),
    "f": lambda peer, rest: float(rest[0]),
    "d": _dict,
    "b": lambda peer, rest: rest[0].encode("latin-1"),
    "B": lambda peer, rest: bytearray(rest[0].encode("latin-1")),
    "c": lambda peer, rest: complex(peer.decode(rest[0]), peer.decode(rest[1])),
    "r": lambda peer, rest: range(*map(peer.decode, rest)),
    "N": lambda peer, rest: Ellipsis if rest[0] else NotImplemented,
    "K": lambda peer, rest: dict.fromkeys(map(peer.decode, rest)).keys(),
    "V": lambda peer, rest: dict(enumerate(map(peer.decode, rest))).values(),
    "I": lambda peer, rest: dict(map(peer.decode, rest)).items(),
    "C": _collection("Counter"),
    "O": _collection("OrderedDict"),
    "E": _collection("defaultdict"),
    "n": _namedtuple,
    "e": lambda peer, rest: exception_class(rest[0]),
    "T": _builtin_type,
    "m": lambda peer, rest: peer.module(rest[0]),
    "x": lambda peer, rest: peer.represent(rest[0], rest[1]),
    "y": lambda peer, rest: peer.objects[rest[0]],
}
