# The program's interpreter: loads a program and answers calls from the judge, or runs it on standard input.
# It is the first process of its sandbox, and after load() it belongs to the program: nothing that it says is
# believed except as the value of a call or as output, and neither tests nor expected results ever come here.
#
# Frames on the control socket:
#   in:  F source   load for calls; S source  run on standard input; C source  compile with the compiler on the next line
#        T          run one test, with its descriptors attached: the judge's socket, or input, output and errors
#   out: R          ready; L text  loaded ("" or why not); D status dirty  the test's process ended


HERE = posix.getcwd()
FOLDERS = (HERE, "/tmp", "/dev/shm")
BINARY = HERE + "/program"
FILE = HERE + "/program.py"
BUILD_SECONDS = 30


class Foreign:
    """An object of the test's that the program was given: a callback, an iterator, an instance of a test's class."""

    def __init__(self, peer, number):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args, **kwargs):
        return self._peer.request("call", self, list(args), kwargs)

    def __getattr__(self, name):
        return self._peer.request("attribute", self, name)

    def __setattr__(self, name, value):
        self._peer.request("assign", self, name, value)

    def __len__(self):
        return self._peer.request("length", self)

    def __getitem__(self, key):
        return self._peer.request("item", self, key)

    def __iter__(self):
        return self._peer.request("iterate", self)

    def __next__(self):
        return self._peer.request("next", self)


# ---- what the judge may ask for


def _call(peer, target, args, kwargs):
    result = target(*args, **kwargs)
    if isinstance(target, type) and not target.__module__ in sys.stdlib_module_names and not issubclass(target, BaseException):
        return Kept(result)  # an instance of the program's own class, even if derived from list or int
    return result


class Kept:
    """A value that goes by number whatever its type."""

    def __init__(self, value):
        self.value = value


def _keep(peer, value, depth):
    value = value.value
    return peer.encode(value, depth) if type(value).__module__ == "builtins" else peer.reference(value)


ENCODERS[Kept] = _keep


def _global(peer, name):
    if name in PROGRAM:
        return PROGRAM[name]
    raise NameError("name %r is not defined" % name)


def _apply(peer, name, *values):
    import operator

    return getattr(operator, name)(*values)


def _equal(peer, left, right):
    return type(left) is type(right) and bool(left == right)


def _await(peer, coroutine):
    import asyncio

    return asyncio.run(coroutine)


def _assign_item(peer, target, key, value):
    target[key] = value


def _delete_item(peer, target, key):
    del target[key]


SERVICES = {
    "global": _global,
    "call": _call,
    "attribute": lambda peer, target, name: getattr(target, name),
    "assign": lambda peer, target, name, value: setattr(target, name, value),
    "item": lambda peer, target, key: target[key],
    "assign item": _assign_item,
    "delete item": _delete_item,
    "length": lambda peer, target: len(target),
    "iterate": lambda peer, target: iter(target),
    "next": lambda peer, target: next(target),
    "truth": lambda peer, target: bool(target),
    "text": lambda peer, target: str(target),
    "representation": lambda peer, target: repr(target),
    "number": lambda peer, kind, target: {"int": int, "float": float, "complex": complex, "round": round}[kind](target),
    "round": lambda peer, target, digits: round(target, digits),
    "instance": lambda peer, target, value: isinstance(value, target),
    "subclass": lambda peer, target, value: isinstance(value, type) and issubclass(value, target),
    "equal": _equal,
    "apply": _apply,
    "await": _await,
    "enter": lambda peer, target: target.__enter__(),
    "exit": lambda peer, target: target.__exit__(None, None, None),
}


# ---- the program


def leave(code=None):
    raise SystemExit(code)


def import_ahead(tree):
    """Modules that the program imports at its top are loaded once, before it is run for each test."""
    for node in tree.body:
        names = []
        if type(node).__name__ == "Import":
            names = [alias.name for alias in node.names]
        elif type(node).__name__ == "ImportFrom" and node.module and not node.level:
            names = [node.module]
        for name in names:
            if name.split(".")[0] in sys.stdlib_module_names - {"this", "antigravity", "idlelib", "turtledemo", "__main__"}:
                try:
                    __import__(name)
                except Exception:
                    pass


def execute(code):
    """Runs the program as the main module; returns "" or why it ended early, and the exit status."""
    try:
        exec(code, PROGRAM)
    except SystemExit as error:
        status = error.code if type(error.code) is int else int(error.code is not None)
        return "SystemExit: " + str(error.code)[:200], status & 255
    except BaseException as error:
        show(error)
        return text_of(error) + Peer.place(None, error), 1
    return "", 0


def show(error):
    try:
        sys.stderr.write(text_of(error) + Peer.place(None, error) + "\n")
        sys.stderr.flush()
    except BaseException:
        pass


def compile_program(source):
    try:
        return compile(source, FILE, "exec", dont_inherit=True), ""
    except BaseException as error:
        return None, text_of(error)


def finish(status):
    """Ends a process as Python would: threads joined, exit functions called, output written."""
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        status = status or 120
    posix._exit(status)


def run_as_script(code):
    for name, fd, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors = "surrogateescape" if fd < 2 else "backslashreplace"
        stream = open(fd, mode, encoding="utf-8", errors=errors, closefd=False)
        setattr(sys, name, stream)
        setattr(sys, "__%s__" % name, stream)
    finish(execute(code)[1])


def build(source, compiler):
    """Compiles a C program; returns "" or the compiler's complaint."""
    with open(BINARY + ".c", "wb") as file:
        file.write(source)
    read, write = posix.pipe()
    child = posix.fork()
    if child == 0:
        posix.dup2(write, 2)
        posix.execv(compiler, [compiler, "-O2", "-std=gnu17", "-w", "-o", BINARY, BINARY + ".c", "-lm", "-lpthread"])
    posix.close(write)
    text = b""
    while part := posix.read(read, 65536):
        text = (text + part)[:4000]
    posix.close(read)
    status = posix.waitpid(child, 0)[1]
    posix.unlink(BINARY + ".c")
    return "" if status == 0 else "the compiler says: " + text.decode("utf-8", "replace")


# ---- one test, one process


def start_test(mode, code, fds):
    if mode == "F":
        peer = Peer(fds[0], Foreign, SERVICES)
        try:
            peer.serve()
        except Gone:
            posix._exit(0)
    for place in range(3):
        posix.dup2(fds[place], place)
        posix.close(fds[place])
    if mode == "C":
        posix.execv(BINARY, ["program"])
    run_as_script(code)


def list_files():
    """Names, sizes and times of what is in the folders; those of the working folder itself change with its files."""
    found = []
    try:
        for folder in FOLDERS:
            for name in sorted(posix.listdir(folder)):
                path = folder + "/" + name
                facts = posix.lstat(path)
                found.append((path,) if path == HERE else (path, facts.st_size, facts.st_mtime_ns, facts.st_ino))
    except OSError:
        return None
    return found


def is_dirty(files):
    """Whether processes or files are left of the test that just ended."""
    try:
        while posix.waitpid(-1, posix.WNOHANG)[0]:
            pass
        return 1
    except ChildProcessError:
        return int(list_files() != files)


def limit_time(seconds):
    import resource

    whole = -int(-seconds // 1)
    resource.setrlimit(resource.RLIMIT_CPU, (whole, whole + 1))


def load(mode, source):
    """Makes the program ready for tests; returns its code and "" or why it cannot be tested."""
    if mode == "C":
        compiler, _, source = source.partition(b"\n")
        return None, build(source, compiler.decode())
    with open(FILE, "wb") as file:  # for inspect and the like
        file.write(source)
    code, problem = compile_program(source)
    if not problem and mode == "S":
        import_ahead(compile(source, FILE, "exec", 1024, True))  # ast.PyCF_ONLY_AST
    if not problem and mode == "F":
        problem = execute(code)[0]
    return code, problem


def main():
    global PROGRAM
    control = _socket.socket(fileno=CONTROL)
    write_frame(control, b"R", b"")
    mode, source, _ = read_frame(control)
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    PROGRAM = module.__dict__
    PROGRAM["__builtins__"] = builtins
    PROGRAM["__file__"] = FILE
    sys.argv = [FILE]
    sys.path.insert(0, HERE)
    builtins.exit = builtins.quit = leave
    limit_time(BUILD_SECONDS if mode == "C" else SECONDS)
    code, problem = load(mode, source)
    limit_time(SECONDS)
    write_frame(control, b"L", problem.encode("utf-8", "replace")[:4000])
    files = list_files()
    while True:
        _, _, fds = read_frame(control)
        child = posix.fork()
        if child == 0:
            posix.close(CONTROL)
            start_test(mode, code, fds)
        for fd in fds:
            posix.close(fd)
        status = posix.waitpid(child, 0)[1]
        write_frame(control, b"D", status.to_bytes(4, "little") + bytes([is_dirty(files)]))


main()
