/* The code executor: programs that must get their share, programs that must not, and what is left behind. The samples
 * of ../shared/code are in test_code_shared.c. Everything here runs in the sandbox. */
#define _GNU_SOURCE
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "code_support.h"
#include "reward/reward.h"
#include "support.h"

static grpo_reward_set *judge;

/* The share that a record is given; NaN when it is not scored. */
static double share_of(const char *record)
{
    double total = -1;
    json_t *fields = NULL;
    grpo_error err;
    assert_ok(json_parse(&fields, record, strlen(record), "record", &err), err);
    grpo_reward_record r = code_record(fields);
    assert_ok(grpo_reward_set_score(judge, &r, 1, NULL, &total, &err), err);
    json_decref(fields);
    return total;
}

/* A program for add(a, b), against four tests that a right one passes and None, 0 and True do not. */
static double share_of_program(const char *program)
{
    double total = -1;
    grpo_error err;
    json_t *fields = json_pack("{s:s, s:s, s:[s,s,s,s,s]}", "program", program, "entry_point", "add", "tests", "assert add(2, 3) == 5",
                               "assert add(-1, 4) == 3", "assert abs(add(0.5, 0.25) - 0.75) < 1e-6", "assert tuple([add(1, 1)]) == tuple([2])",
                               "assert add(3, 1) in (4, 44) and isinstance(add(7, 1), int)");
    grpo_reward_record r = code_record(fields);
    assert_ok(grpo_reward_set_score(judge, &r, 1, NULL, &total, &err), err);
    json_decref(fields);
    return total;
}

static void hostile(const char *program)
{
    double got = share_of_program(program);
    if (got != 0)
        fail_msg("credited %g: %s", got, program);
}

static void benign(const char *program)
{
    double got = share_of_program(program);
    if (got != 1)
        fail_msg("credited %g only: %s", got, program);
}

/* ---- forgery --------------------------------------------------------------------------------------- */

static void test_values_decide(void **state)
{
    (void)state;
    hostile("class Y:\n"
            "    def __getattr__(self, n): return self\n"
            "    def __call__(self, *a, **k): return self\n"
            "    def __eq__(self, o): return True\n"
            "    def __ne__(self, o): return False\n"
            "    def __lt__(self, o): return True\n"
            "    def __sub__(self, o): return 0.0\n"
            "    def __abs__(self): return 0.0\n"
            "    def __hash__(self): return 1\n"
            "def add(a, b): return Y()\n");
    hostile("class Y(float):\n"
            "    def __eq__(self, o): return True\n"
            "    def __sub__(self, o): return 0.0\n"
            "    def __hash__(self): return hash(4)\n"
            "def add(a, b): return Y(99)\n");
    hostile("class S(str):\n    def __eq__(self, o): return True\ndef add(a, b): return S('x')\n");
    hostile("class L(list):\n    def __contains__(self, o): return True\n    def __eq__(self, o): return True\ndef add(a, b): return L()\n");
    hostile("def add(a, b): return float('nan')\n");
}

static void test_own_names_do_not_reach_the_tests(void **state)
{
    (void)state;
    hostile("def tuple(x): return 0\ndef abs(x): return 0\ndef isinstance(*a): return True\ndef add(a, b): return None\n");
    hostile("import builtins\nbuiltins.tuple = lambda *a: 0\nbuiltins.abs = lambda *a: 0\nbuiltins.isinstance = lambda *a: True\n"
            "def add(a, b): return None\n");
    assert_true(share_of("{\"program\":\"class M:\\n    def isclose(self, *a): return True\\nmath = M()\\ndef f(): return 3.0\\n\","
                         "\"tests\":[\"assert math.isclose(f(), 2.0)\",\"assert math.isclose(f(), 3.0)\"]}") == 0.5);
    hostile("AssertionError = ValueError\nException = BaseException\ndef add(a, b): return None\n");
    hostile("import sys\nsys.modules['builtins'].exec = lambda *a: None\n__debug__ and None\ndef add(a, b): return None\n");
}

static void test_reports_are_not_believed(void **state)
{
    (void)state;
    /* Frames of every protocol there is, to every descriptor. */
    hostile("import os\n"
            "def add(a, b):\n"
            "    for fd in range(1, 64):\n"
            "        for x in (b'V{\"ok\":true,\"why\":\"\"}', b'D\\0\\0\\0\\0\\0', b'L', b'R{\"passed\":5,\"total\":5}', b'[\"a\",null,{}]'):\n"
            "            try: os.write(fd, len(x).to_bytes(4, 'little') + x)\n"
            "            except OSError: pass\n"
            "    return None\n");
    hostile("import os\ndef add(a, b):\n    os._exit(0)\n");
    hostile("import atexit, os, sys\natexit.register(os._exit, 0)\nsys.excepthook = lambda *a: os._exit(0)\ndef add(a, b):\n    sys.exit(0)\n");
    hostile("import sys\ndef add(a, b): return None\nsys.exit(0)\n");
    hostile("import os\nos._exit(0)\n");
    hostile("def add(a, b):\n    raise SystemExit(0)\n");
    hostile("def add(a, b):\n    raise StopIteration\n");
    /* Its own side of the connection, taken over from below. */
    hostile("import sys\n"
            "f = sys._getframe()\n"
            "while f:\n"
            "    g = f.f_globals\n"
            "    if 'SERVICES' in g:\n"
            "        g['SERVICES']['call'] = lambda *a: True\n"
            "        g['SERVICES']['equal'] = lambda *a: True\n"
            "    f = f.f_back\n"
            "def add(a, b): return None\n");
}

static void test_tests_cannot_be_found(void **state)
{
    (void)state;
    hostile("import gc, sys\n"
            "def add(a, b):\n"
            "    f = sys._getframe()\n"
            "    found = []\n"
            "    while f:\n"
            "        found += [v for v in list(f.f_locals.values()) + list(f.f_globals.values()) if isinstance(v, str)]\n"
            "        f = f.f_back\n"
            "    for o in gc.get_objects():\n"
            "        if isinstance(o, (list, tuple, set)): found += [v for v in o if isinstance(v, str)]\n"
            "    return a + b if any(('ass' + 'ert') in v and 'tuple([add' in v for v in found) else None\n");
    hostile("import re\n"
            "def add(a, b):\n"
            "    wanted = bytes(reversed(b'.dda tressa'))\n"
            "    for line in open('/proc/self/maps'):\n"
            "        m = re.match('([0-9a-f]+)-([0-9a-f]+) r', line)\n"
            "        try:\n"
            "            with open('/proc/self/mem', 'rb', 0) as f:\n"
            "                f.seek(int(m[1], 16))\n"
            "                if re.search(wanted + rb'[0-9]+, [0-9]+. == ', f.read(int(m[2], 16) - int(m[1], 16))): return a + b\n"
            "        except (OSError, OverflowError, TypeError, ValueError): pass\n"
            "    return None\n");
    hostile("import glob, os\n"
            "def add(a, b):\n"
            "    for p in glob.glob('/proc/[0-9]*/mem') + glob.glob('/proc/[0-9]*/environ') + glob.glob('/proc/[0-9]*/cmdline'):\n"
            "        try:\n"
            "            if b'tressa'[::-1] in open(p, 'rb').read(100000): return a + b\n"
            "        except OSError: pass\n"
            "    return None\n");
}

/* ---- isolation ---------------------------------------------------------------------------------------- */

static void test_nothing_of_the_host(void **state)
{
    (void)state;
    setenv("GRPO_CANARY", "c0ffee", 1);
    hostile("import os\n"
            "def add(a, b):\n"
            "    if os.environ.get('GRPO_CANARY'): return a + b\n"
            "    for p in ('/etc/passwd', '/etc', '/home', '/root', '/work', '/var', '/sys', '/run', '/boot', '/proc/1/root/etc'):\n"
            "        if os.path.exists(p): return a + b\n"
            "    return None\n");
    hostile("import socket\n"
            "def add(a, b):\n"
            "    for family in (2, 10, 16, 17):\n"
            "        try: socket.socket(family, socket.SOCK_DGRAM)\n"
            "        except OSError: continue\n"
            "        return a + b\n"
            "    return None\n");
    hostile("import ctypes\n"
            "c = ctypes.CDLL(None)\n"
            "def add(a, b):\n"
            "    if c.unshare(0x10000000) == 0 or c.ptrace(16, 1, 0, 0) == 0 or c.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0: return a + b\n"
            "    return None\n");
    hostile("def add(a, b):\n"
            "    for p in ('/x', '/dev/x', '/usr/x', '/proc/x', '/lib/x'):\n"
            "        try: open(p, 'w')\n"
            "        except OSError: continue\n"
            "        return a + b\n"
            "    return None\n");
    hostile("import os\n"
            "def add(a, b):\n"
            "    for fd in range(3, 256):\n"
            "        try: name = os.readlink('/proc/self/fd/%d' % fd)\n"
            "        except OSError: continue\n"
            "        if not name.startswith(('socket:', 'pipe:', '/proc')): return a + b\n"
            "    return None\n");
}

static void test_processes(void **state)
{
    (void)state;
    hostile("import os\ndef add(a, b):\n    for p in [-1, 1, os.getppid()] + list(range(2, 200)):\n"
            "        try: os.kill(p, 9)\n        except OSError: pass\n");
    hostile("import os, signal\ndef add(a, b):\n    os.kill(os.getpid(), signal.SIGSTOP)\n");
    /* More than its processes: the limit of 64 holds. */
    hostile("import os, time\n"
            "def add(a, b):\n"
            "    n = 0\n"
            "    try:\n"
            "        while n < 200:\n"
            "            if os.fork() == 0:\n"
            "                time.sleep(5)\n"
            "                os._exit(0)\n"
            "            n += 1\n"
            "    except OSError: pass\n"
            "    return a + b if n >= 64 else None\n");
}

static void test_limits(void **state)
{
    (void)state;
    hostile("def add(a, b):\n    while True: pass\n");
    hostile("while True: pass\ndef add(a, b): return a + b\n");
    hostile("import time\ndef add(a, b):\n    time.sleep(60)\n");
    hostile("def add(a, b):\n    x = bytearray(3 << 30)\n    return a + b\n");
    hostile("def add(a, b):\n    x = b'x' * (1 << 20)\n    with open('f', 'wb') as f:\n        for i in range(200): f.write(x)\n    return a + b\n");
    hostile("def add(a, b):\n    x = []\n    for i in range(100000): x = [x]\n    return x\n");
    hostile("def add(a, b):\n    x = []\n    x.append(x)\n    return x\n");
    hostile("def add(a, b):\n    return 'x' * (100 << 20)\n");
    hostile("import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return repr(R())\nclass R:\n    __repr__ = f\ndef add(a, b): return f(0)\n");
    hostile("def add(a, b):\n    return int(input())\n");
    hostile("");
    hostile("\0\0");
}

/* ---- programs that are right ---------------------------------------------------------------------------- */

static void test_benign(void **state)
{
    (void)state;
    benign("def add(a, b):\n    return a + b\n");
    benign("from fractions import Fraction\ndef add(a, b):\n    r = a + b\n    return int(r) if r == int(r) else r\n");
    benign("import subprocess, sys\ndef add(a, b):\n    return eval(subprocess.run([sys.executable, '-c', f'print({a} + {b})'], capture_output=True).stdout)\n");
    benign("from multiprocessing.pool import ThreadPool\ndef add(a, b):\n    return ThreadPool(2).map(sum, [(a, b)])[0]\n");
    benign("import tempfile\ndef add(a, b):\n    with tempfile.NamedTemporaryFile() as f:\n        f.write(b'x')\n    return a + b\n");
    benign("import multiprocessing\ndef add(a, b):\n    with multiprocessing.Pool(2) as p:\n        return p.map(sum, [(a, b)])[0]\n");
    benign("import concurrent.futures as f\ndef add(a, b):\n    with f.ProcessPoolExecutor(2) as p:\n        return p.submit(sum, (a, b)).result()\n");
    benign("import inspect\ndef add(a, b):\n    assert 'inspect' in inspect.getsource(add) and open(__file__).read()\n    return a + b\n");
    benign("import sqlite3, zoneinfo, hashlib, secrets, ctypes, logging, pickle, dataclasses\n@dataclasses.dataclass\nclass P:\n    x: int\n"
           "def add(a, b):\n    return pickle.loads(pickle.dumps(P(a + b))).x\n");
    benign("import signal\ndef add(a, b):\n    signal.alarm(5)\n    open('n', 'w').write('x')\n    assert open('n').read() == 'x'\n    return a + b\n");
    benign("class My(int): pass\ndef add(a, b):\n    return My(a + b) if isinstance(a, int) else a + b\n");
    benign("def add(a, b):\n    print('x' * 100000)\n    return a + b\nif __name__ == '__main__':\n    print(add(1, 2))\n");
}

static void test_state_is_not_shared(void **state)
{
    (void)state;
    assert_true(share_of("{\"program\":\"calls = []\\ndef f():\\n    calls.append(1)\\n    open('t%d' % len(calls), 'w')\\n    import os\\n"
                         "    return len(calls), sorted(os.listdir('.'))\\n\","
                         "\"tests\":[\"assert f() == (1, ['program.py', 't1'])\",\"assert f() == (1, ['program.py', 't1'])\"],\"entry_point\":\"f\"}") == 1);
}

static void test_values_travel(void **state)
{
    (void)state;
    assert_true(share_of("{\"program\":\"import collections, datetime, decimal, fractions\\n"
                         "def same(x): return x\\n"
                         "def kind(x): return type(x)\\n"
                         "def change(x): x.append(4); x[0]['k'] = {1}\\n"
                         "def twice(f, x): return f(f(x))\\n"
                         "def count(n):\\n    for i in range(n): yield i\\n"
                         "def fail(): raise KeyError('k')\\n"
                         "class Odd(ValueError): pass\\n"
                         "def odd(): raise Odd('o')\\n"
                         "class Stack:\\n"
                         "    def __init__(self): self.items = []\\n"
                         "    def push(self, x): self.items.append(x)\\n"
                         "    def pop(self): return self.items.pop()\\n"
                         "    def __len__(self): return len(self.items)\\n"
                         "class Point:\\n"
                         "    def __init__(self, x, y): self.x, self.y = x, y\\n"
                         "    def __eq__(self, o): return (self.x, self.y) == (o.x, o.y)\\n"
                         "    def __add__(self, o): return Point(self.x + o.x, self.y + o.y)\\n"
                         "class Names(list):\\n    def longest(self): return max(self, key=len)\\n"
                         "def far(points): return max(p.x for p in points)\\n"
                         "async def later(x): return x + 1\\n\",\"tests\":["
                         "\"for x in (None, True, 3, -2**70, 1.5, -0.0, 'é\\\\ud800', b'\\\\xff', (1, [2]), {1: {2}}, frozenset([1]), range(3), 1j): assert same(x) == x and type(same(x)) is type(x)\","
                         "\"import collections as c, decimal, fractions, datetime\\nfor x in (c.Counter('ab'), c.OrderedDict(a=1), c.deque([1], 3), decimal.Decimal('1.10'), fractions.Fraction(1, 3), datetime.date(2020, 1, 2), datetime.timedelta(3)): assert same(x) == x and type(same(x)) is type(x)\","
                         "\"assert same(float('inf')) == float('inf') and same(float('nan')) != same(float('nan'))\","
                         "\"assert kind(3) is int and kind([]) == list\","
                         "\"x = [{}]\\nchange(x)\\nassert x == [{'k': {1}}, 4]\","
                         "\"assert twice(lambda n: n * 3, 2) == 18\","
                         "\"assert list(count(3)) == [0, 1, 2] and next(count(1)) == 0 and sum(count(4)) == 6\","
                         "\"try: fail()\\nexcept KeyError as e: assert e.args == ('k',)\\nelse: assert False\","
                         "\"try: odd()\\nexcept Odd: pass\","
                         "\"try: odd()\\nexcept ValueError: pass\","
                         "\"s = Stack()\\ns.push(1)\\ns.push([2])\\nassert len(s) == 2 and s.pop() == [2] and s.items == [1] and isinstance(s, Stack)\","
                         "\"assert Point(1, 2) + Point(1, 1) == Point(2, 3) and Point(1, 2) != Point(1, 3) and far([Point(1, 2), Point(5, 0)]) == 5\","
                         "\"n = Names(['a', 'bb'])\\nassert n.longest() == 'bb' and len(n) == 2\","
                         "\"import asyncio\\nassert asyncio.run(later(1)) == 2\","
                         "\"class Node:\\n    def __init__(self, v): self.x = v\\nassert far([Node(3), Node(4)]) == 4\","
                         "\"import unittest\\nclass T(unittest.TestCase):\\n    def test_it(self):\\n        self.assertEqual(same(2), 2)\","
                         "\"from solution import same as s\\ndef test_one():\\n    assert s(2) == 2\"]}") == 1);
}

static void test_defined_tests_run(void **state)
{
    (void)state;
    assert_true(share_of("{\"program\":\"def f(): return 1\\n\",\"tests\":[\"def test_one():\\n    assert f() == 2\","
                         "\"import unittest\\nclass T(unittest.TestCase):\\n    def test_it(self):\\n        self.assertEqual(f(), 2)\"]}") == 0);
    assert_true(share_of("{\"program\":\"\",\"tests\":[\"assert True\",\"def test_nothing(): pass\"]}") == 0);
}

/* ---- forms of records -------------------------------------------------------------------------------------- */

static void test_forms(void **state)
{
    (void)state;
    assert_true(share_of("{\"prompt\":\"def f(x):\\n\",\"completion\":\"    return x\\n\",\"test\":\"def check(candidate):\\n    assert candidate(1) == 1\\n\",\"entry_point\":\"f\"}") == 1);
    assert_true(share_of("{\"prompt\":\"def f(x):\\n\",\"completion\":\"    return 2\\n\",\"test\":\"def check(candidate):\\n    assert candidate(1) == 1\\n\",\"entry_point\":\"f\"}") == 0);
    assert_true(share_of("{\"program\":\"def sum(a, b): return a + b\\n\",\"test_list\":[\"assert sum(1, 2) == 3\",\"assert sum(1, 2) == N\"],\"test_setup_code\":\"N = 4\"}") == 0.5);
    assert_true(share_of("{\"program\":\"print(int(input()) + 1)\",\"input_output\":\"{\\\"inputs\\\": [\\\"1\\\\n\\\", \\\"5\\\"], \\\"outputs\\\": [\\\"2\\\", \\\"7\\\"]}\"}") == 0.5);
    assert_true(share_of("{\"program\":\"class Solution:\\n    def add(self, a, b): return a, b\\n\",\"input_output\":{\"fn_name\":\"add\",\"inputs\":[[1,2],[3,4]],\"outputs\":[[1,2],[[3,5]]]}}") == 0.5);
    assert_true(share_of("{\"program\":\"print(input())\",\"reward_model\":{\"style\":\"rule\",\"ground_truth\":\"{\\\"inputs\\\": [\\\"1\\\"], \\\"outputs\\\": [\\\"1 \\\\n\\\\n\\\"]}\"}}") == 1);
    assert_true(share_of("{\"program\":\"def f(a, b): return a + b\",\"tests\":[{\"input\":\"1\\n2\",\"output\":\"3\",\"testtype\":\"functional\"}],\"metadata\":{\"func_name\":\"f\"}}") == 1);
    assert_true(share_of("{\"program\":\"print(input())\\nexit()\",\"tests\":[{\"input\":\"1\",\"output\":\"1\"},{\"input\":\"1\",\"output\":\"2\"}]}") == 0.5);
    /* A chat answer is the program in its last block, as in training; one that only goes on continues its prompt. */
    assert_true(share_of("{\"prompt\":\"Write f.\",\"completion\":\"Here:\\n```python\\ndef f(x):\\n    return x\\n```\\nf returns x.\",\"tests\":[\"assert f(1) == 1\"]}") == 1);
    /* Not the program's fault: not scored. */
    assert_true(isnan(share_of("{\"program\":\"print(1)\"}")));
    assert_true(isnan(share_of("{\"program\":\"print(1)\",\"reward_model\":{\"ground_truth\":\"65\"}}"))); /* of another kind of data */
    assert_true(isnan(share_of("{\"program\":\"print(1)\",\"ground_truth\":\"It is (5 + 3) = 8 then.\\n#### 8\"}")));
    assert_true(share_of("{\"program\":\"def f(): return 65\",\"ground_truth\":\"assert f() == 65\"}") == 1);
    assert_true(isnan(share_of("{\"program\":\"print(1)\",\"inputs\":[\"1\"],\"outputs\":[]}")));
    assert_true(isnan(share_of("{\"program\":\"f = 1\",\"tests\":[\"assert f ==\"]}")));
    assert_true(isnan(share_of("{\"program\":\"f = 1\",\"tests\":[]}")));
    assert_true(isnan(share_of("{\"program\":\"puts 1\",\"language\":\"ruby\",\"inputs\":[\"\"],\"outputs\":[\"1\"]}")));
    assert_true(isnan(share_of("{\"file\":\"not/there.py\",\"inputs\":[\"\"],\"outputs\":[\"1\"]}")));
}

/* A helper that the prompt defines is the prompt's, whatever the completion makes of it. */
static void test_helpers_of_the_prompt(void **state)
{
    (void)state;
    assert_true(share_of("{\"prompt\":\"def norm(x):\\n    return x * 2\\n\\ndef f(x):\\n\",\"completion\":\"    return None\\ndef norm(x): return 0\\n\","
                         "\"tests\":[\"assert norm(f(1) or 1) == 0\"],\"entry_point\":\"f\"}") == 0);
}

static void test_c(void **state)
{
    (void)state;
    assert_true(share_of("{\"language\":\"c\",\"program\":\"#include <stdio.h>\\n#include <math.h>\\nint main(void) { double x; while (scanf(\\\"%lf\\\", &x) == 1) printf(\\\"%g\\\\n\\\", sqrt(x)); return 0; }\","
                         "\"inputs\":[\"4 9\",\"2\"],\"outputs\":[\"2\\n3\",\"1\"]}") == 0.5);
    assert_true(share_of("{\"language\":\"c\",\"program\":\"int main(void) { retur 0; }\",\"inputs\":[\"\"],\"outputs\":[\"\"]}") == 0);
    assert_true(share_of("{\"language\":\"c\",\"program\":\"int main(void) { for (;;); }\",\"inputs\":[\"\"],\"outputs\":[\"\"]}") == 0);
    assert_true(share_of("{\"language\":\"c\",\"program\":\"#include <stdlib.h>\\nint main(void) { abort(); }\",\"inputs\":[\"\"],\"outputs\":[\"\"]}") == 0);
    assert_true(share_of("{\"language\":\"c\",\"program\":\"#include \\\"/etc/passwd\\\"\\nint main(void) { return 0; }\",\"inputs\":[\"\"],\"outputs\":[\"\"]}") == 0);
}

/* ---- what is left behind, and what goes wrong ----------------------------------------------------------------- */

static void test_daemon_ends(void **state)
{
    (void)state;
    size_t before = code_processes();
    hostile("import os, time\ndef add(a, b):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0: time.sleep(30)\n        os._exit(0)\n");
    assert_true(code_processes() <= before + 8); /* workers, judges and their bubblewraps; no daemon: */
    assert_int_equal(code_sandboxes_of_programs(), 0);
}

static void *score_in_thread(void *unused)
{
    (void)unused;
    for (int i = 0; i < 6; i++)
        if (share_of_program(i % 2 ? "def add(a, b): return a + b\n" : "def add(a, b): return None\n") != i % 2)
            return (void *)1;
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[5];
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, score_in_thread, NULL), 0);
    for (int i = 0; i < 5; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
}

/* Workers and judges that are killed: started anew, and what they held is judged again. */
static void test_killed_workers(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        benign("def add(a, b):\n    return a + b\n");
        assert_true(code_kill_tree(round) > 0);
        double got = share_of_program("def add(a, b):\n    return a + b\n");
        assert_true(got == 1 || isnan(got)); /* never 0 */
        benign("def add(a, b):\n    return a + b\n");
    }
}

static void test_explains(void **state)
{
    (void)state;
    grpo_error err;
    reward_score s = {0};
    double total;
    json_t *fields = json_pack("{s:s, s:[s,s]}", "program", "def f(x):\n    return 1 // x\n", "tests", "assert f(1) == 1", "assert f(0) == 1");
    grpo_reward_record r = code_record(fields);
    assert_ok(reward_set_score_details(judge, &r, 1, &s, &total, REWARD_EXPLAIN, &err), err);
    json_t *tests = json_object_get(json_object_get(s.details, "explain"), "tests");
    assert_true(json_is_true(json_object_get(json_array_get(tests, 0), "ok")));
    const char *why = json_string_value(json_object_get(json_array_get(tests, 1), "why"));
    assert_non_null(strstr(why, "ZeroDivisionError"));
    assert_non_null(strstr(why, "line 2 of the program"));
    assert_non_null(strstr(why, "assert f(0) == 1"));
    json_decref(s.details);
    json_decref(fields);
}

static int start(void **state)
{
    (void)state;
    judge = code_judge_or_skip("code:timeout=1.5,patience=10");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    grpo_reward_set_destroy(judge);
    return code_processes() != 0 ? -1 : 0; /* helper, workers, judges and sandboxes have ended */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_decide), cmocka_unit_test(test_own_names_do_not_reach_the_tests),
        cmocka_unit_test(test_reports_are_not_believed), cmocka_unit_test(test_tests_cannot_be_found),
        cmocka_unit_test(test_nothing_of_the_host), cmocka_unit_test(test_processes), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_benign), cmocka_unit_test(test_state_is_not_shared), cmocka_unit_test(test_values_travel),
        cmocka_unit_test(test_defined_tests_run), cmocka_unit_test(test_forms), cmocka_unit_test(test_helpers_of_the_prompt),
        cmocka_unit_test(test_c), cmocka_unit_test(test_daemon_ends), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_killed_workers), cmocka_unit_test(test_explains),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
