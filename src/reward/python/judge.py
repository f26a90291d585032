# The judge's interpreter: holds the tests and decides. The program runs in another interpreter, in a sandbox of its
# own; here its functions are stand-ins that send the arguments there and rebuild the result from types of this side.
# A comparison with what a test expects is made here, between values of this side.
#
# First process: one frame J with a socket for each program; a child serves that job and ends.
# Frames on a job's socket:
#   in:  P json  {"prompt", "setup", "entry"}     T json  {"code"} or {"function", "arguments", "expected"}, with the
#                                                         descriptor of a connection to the program
#   out: V json  {"ok", "why", "gone", "bad"}: gone, the program's process is not there any more; bad, the test itself
#                is no Python
# On the first process's: C source -> M code, marshalled, of the program's interpreter.

import ast
import marshal
import signal
import types

JSON = __import__("json")


def _unary(name):
    return lambda self: ask(self, "apply", name, self)


def _binary(name):
    # With a value of this side this would tell the program what is expected of it.
    return lambda self, other: ask(self, "apply", name, self, other) if type(other) is Remote else NotImplemented


def ask(remote, *request):
    return object.__getattribute__(remote, "_peer").request(*request)


class Remote:
    """An object that stays in the program's interpreter: a function, a class, an instance, an iterator.

    It never equals a value of this side. Two of them are compared there, if their class is the same: what it means
    that two objects of the program's own class are equal is for that class to say."""

    __slots__ = ("_peer", "_number")

    def __init__(self, peer, number):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args, **kwargs):
        return ask(self, "call", self, list(args), kwargs)

    def __getattr__(self, name):
        return ask(self, "attribute", self, name)

    def __setattr__(self, name, value):
        ask(self, "assign", self, name, value)

    def __eq__(self, other):
        return type(other) is Remote and (self is other or ask(self, "equal", self, other) is True)

    def __hash__(self):
        return number_of(self)

    def __len__(self):
        return ask(self, "length", self)

    def __bool__(self):
        return ask(self, "truth", self)

    def __str__(self):
        return ask(self, "text", self)

    def __repr__(self):
        return ask(self, "representation", self)

    def __iter__(self):
        return ask(self, "iterate", self)

    def __next__(self):
        return ask(self, "next", self)

    def __contains__(self, item):
        return any(item is found or item == found for found in self)

    def __getitem__(self, key):
        return ask(self, "item", self, key)

    def __setitem__(self, key, value):
        ask(self, "assign item", self, key, value)

    def __delitem__(self, key):
        ask(self, "delete item", self, key)

    def __int__(self):
        return ask(self, "number", "int", self)

    def __float__(self):
        return ask(self, "number", "float", self)

    def __complex__(self):
        return ask(self, "number", "complex", self)

    def __round__(self, digits=None):
        return ask(self, "number", "round", self) if digits is None else ask(self, "round", self, digits)

    def __instancecheck__(self, value):
        return type(value) is Remote and ask(self, "instance", self, value) is True

    def __subclasscheck__(self, value):
        return type(value) is Remote and ask(self, "subclass", self, value) is True

    def __enter__(self):
        return ask(self, "enter", self)

    def __exit__(self, *error):
        ask(self, "exit", self)

    def __deepcopy__(self, memo):
        return self

    __copy__ = lambda self: self


for _name in ("neg", "pos", "abs", "invert"):
    setattr(Remote, "__%s__" % _name, _unary(_name))
for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lt", "le", "gt", "ge"):
    setattr(Remote, "__%s__" % _name, _binary(_name + "_" * (_name in ("and", "or"))))


# ---- what a program may ask for: calls and attributes of objects that a test gave it


def _of_test(value):
    if type(value).__module__ != TESTS:
        raise TypeError("only objects of the test's own classes can be looked into")
    return value


def _attribute(peer, value, name):
    if type(name) is not str or name.startswith("_"):
        raise AttributeError("this attribute is not for the program")
    return getattr(_of_test(value), name)


def _assign(peer, value, name, new):
    _attribute(peer, value, name) if name in dir(_of_test(value)) else None
    setattr(value, name, new)


SERVICES = {
    "call": lambda peer, target, args, kwargs: target(*args, **kwargs),
    "attribute": _attribute,
    "assign": _assign,
    "length": lambda peer, value: len(_of_test(value)),
    "item": lambda peer, value, key: _of_test(value)[key],
    "iterate": lambda peer, value: value if hasattr(value, "__next__") else iter(_of_test(value)),
    "next": lambda peer, value: next(value),
}

# ---- the names of a test

TESTS = "tests"


class Names(dict):
    """The globals of a test. What neither it nor the prompt defines comes from the program, but never in place of a
    built-in function, or of a module that the test looks into: a program must not lend its own `abs` or `math` to a
    test. (Unless that is what is tested.)"""

    def __init__(self, peer, wanted, modules=()):
        super().__init__(__name__=TESTS, __builtins__=builtins)
        self.peer = peer
        self.wanted = wanted
        self.modules = modules

    def __missing__(self, name):
        if name.startswith("__") or (name in BUILTIN_NAMES and name not in self.wanted):
            raise KeyError(name)
        try:
            found = __import__(name) if name in self.modules else self.peer.request("global", name)
        except (NameError, ImportError):
            raise KeyError(name) from None
        self[name] = found
        return found


BUILTIN_NAMES = set(dir(builtins))


class Solution(types.ModuleType):
    """`from solution import f`, as some data sets have it."""

    def __init__(self, names):
        super().__init__("solution")
        self.__dict__["_names"] = names

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._names[name]
        except KeyError:
            raise AttributeError(name) from None


def parse(text):
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_stub(function):
    """Whether a function of the prompt is for the program to fill in."""
    body = [node for node in function.body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]
    return not body or isinstance(body[0], (ast.Pass, ast.Raise))


def trusted_part(prompt, entry):
    """The prompt's imports and complete helper functions: tests use these, not what the program makes of them."""
    tree = parse(prompt) or parse(prompt.rstrip() + "\n    pass\n")
    if tree is None:
        return None
    whole = not any(isinstance(node, ast.ClassDef) for node in tree.body)
    keep = (ast.Import, ast.ImportFrom) + ((ast.FunctionDef, ast.Assign, ast.AnnAssign) if whole else ())
    chosen = [
        node
        for node in tree.body
        if isinstance(node, keep) and not (isinstance(node, ast.FunctionDef) and (node.name == entry or is_stub(node)))
    ]
    return compile(ast.Module(chosen, []), "prompt", "exec")


def names_loaded(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def names_made(tree):
    made = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).split(".")[0])
    return made


def wanted_names(tree, entry):
    """Names that come from the program even if they are built-in functions' ones."""
    free = names_loaded(tree) - names_made(tree)
    if entry:
        return {entry}
    return set() if free - BUILTIN_NAMES else free


def modules_used(tree, wanted):
    """Names of the standard library's modules that a test takes attributes of."""
    used = {node.value.id for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    return used & sys.stdlib_module_names - wanted


# ---- one test


def prepare(test, job, peer):
    """Everything before the program is first asked: a failure here is not the program's. Returns what runs the test."""
    if "function" in test:
        return lambda: run_call(test, job, peer)
    tree = ast.parse(test["code"])
    wanted = wanted_names(tree, job["entry"])
    names = Names(peer, wanted, modules_used(tree, wanted))
    setup, code = compile(job["setup"], "setup", "exec"), compile(tree, "test", "exec")
    sys.modules["solution"] = Solution(names)
    return lambda: run_code(tree, setup, code, job, names)


def run_code(tree, setup, code, job, names):
    try:
        exec(job["trusted"], names)
    except Exception:
        pass  # a prompt's import of what is not here
    exec(setup, names)
    exec(code, names)
    run_defined(tree, names, job["entry"])


def run_defined(tree, names, entry):
    """Test functions that are only defined: check(candidate), pytest's and unittest's."""
    called = {node.value.func.id for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in called:
            if node.name == "check" and entry:
                names["check"](names[entry])
            elif node.name.startswith("test") and not node.args.args:
                names[node.name]()
        elif isinstance(node, ast.ClassDef):
            run_class(names[node.name])


def run_class(kind):
    import unittest

    if isinstance(kind, type) and issubclass(kind, unittest.TestCase):
        result = unittest.TestResult()
        result.failfast = True
        unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
        for _, text in result.failures + result.errors:
            raise AssertionError(text.strip().split("\n")[-1])


def plain(value):
    """JSON has neither tuples nor keys that are not text."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def run_call(test, job, peer):
    """APPS: a function, or a method of Solution, with arguments and expected result as JSON."""
    name, names = test["function"], Names(peer, {test["function"]})
    try:
        target = names[name]
    except KeyError:
        target = getattr(names["Solution"](), name)
    result, expected = plain(target(*test["arguments"])), plain(test["expected"])
    if result != expected and not (isinstance(expected, list) and expected and result == expected[0]):
        raise AssertionError("%s%s gave %s, not %s" % (name, short(tuple(test["arguments"])), short(result), short(expected)))


def short(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def where(error, test):
    """The line of the test that failed."""
    line, trace = 0, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "test":
            line = trace.tb_lineno
        trace = trace.tb_next
    lines = test.split("\n")
    return " in: " + lines[line - 1].strip()[:300] if 0 < line <= len(lines) else ""


def judge(test, job, fd):
    peer = Peer(fd, Remote, SERVICES)
    try:
        run = prepare(test, job, peer)
    except Exception as error:
        return {"ok": False, "bad": True, "why": "a test cannot be run: " + text_of(error)}
    try:
        run()
    except Gone:
        return {"ok": False, "gone": True, "why": "the program ended during the test"}
    except BaseException as error:
        origin = error.__dict__.get("_where") or text_of(error)
        return {"ok": False, "why": origin + where(error, test.get("code", ""))}
    if peer.requests == 0:
        return {"ok": False, "why": "the test does not use the program"}
    return {"ok": True, "why": ""}


def serve(channel):
    job = {}
    while True:
        letter, data, fds = read_frame(channel)
        message = JSON.loads(data)
        if letter == "P":
            job = message
            job["trusted"] = trusted_part(message["prompt"], message["entry"]) or ""
        else:
            verdict = judge(message, job, fds[0])
            posix.close(fds[0])
            verdict["why"] = verdict["why"].encode("utf-8", "replace").decode()[:1000]
            write_frame(channel, b"V", JSON.dumps(verdict).encode())


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    sys.setrecursionlimit(5000)
    sys.modules["__main__"] = types.ModuleType("__main__")
    control = _socket.socket(fileno=CONTROL)
    write_frame(control, b"R", b"")
    while True:
        letter, data, fds = read_frame(control)
        if letter == "C":
            write_frame(control, b"M", marshal.dumps(compile(data, "sandbox", "exec")))
        elif posix.fork() == 0:
            posix.close(CONTROL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            serve(_socket.socket(fileno=fds[0]))
        else:
            posix.close(fds[0])


main()
