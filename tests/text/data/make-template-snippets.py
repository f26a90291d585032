#!/usr/bin/env python3
"""Makes template_snippets.jsonl: small templates and what jinja2 makes of them as transformers runs it.

usage: make-template-snippets.py [--random N] [--seed S] > template_snippets.jsonl

Needs transformers 5.23.0 and jinja2 3.1.6. The hand-written snippets come first; --random N adds N
random ones from the grammar below. The first line holds the variables of all lines. The clock stands at 2025-03-09 14:05:07.
"""
import argparse
import copy
import datetime
import json
import random
import sys

import jinja2
from transformers.utils import chat_template_utils as utils


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 3, 9, 14, 5, 7)


utils.datetime = FixedClock

VARIABLES = {
    "s": "Hello, World", "e": "", "u": "Größe ß 日本語 🙂 ŉ", "w": "  pad\t\n", "t": "a-b_c d.e",
    "i": 7, "j": -3, "z": 0, "f": 2.5, "g": -0.125, "h": 1e18, "b": True, "c": False, "n": None,
    "l": [3, 1, 2], "m": ["b", "A", "c", "a"], "q": [], "x": [1, "a", None, True, 2.0, [1], {"k": 1}],
    "d": {"b": 1, "A": "x", "c": [1, 2], "items2": None}, "o": {},
    "r": [{"name": "x", "v": 2, "tag": {"id": 1}}, {"name": "Y", "v": 1, "tag": {"id": 2}},
          {"name": "x", "v": 3}],
    "html": "<a href=\"x\">T&C's</a>", "num": "42", "fl": " 3.14 ", "nl": "one\ntwo\r\n\nthree\n",
}


def reference(source, variables):
    try:
        text = utils._compile_jinja_template(source).render(
            messages=[], tools=None, documents=None, add_generation_prompt=False, **variables)
        text.encode()
        return {"expected": text}
    except RecursionError:
        return {"error": "RecursionError"}
    except Exception as e:  # every failure counts, whatever it is
        name = type(e).__name__
        return {"error": "raised_by_template" if type(e) is jinja2.TemplateError else name}


# ---- hand-written ---------------------------------------------------------------------------------------

HAND = open(__file__.replace("make-template-snippets.py", "template_snippets.txt"), encoding="utf-8", newline="")


def hand_written():
    """Snippets separated by lines of ----."""
    return [s for s in HAND.read().split("\n----\n") if s]


# ---- random ------------------------------------------------------------------------------------------------

class Grammar:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def one(self, *choices):
        c = self.r.choice(choices)
        return c() if callable(c) else c

    def name(self):
        return self.r.choice(list(VARIABLES) + ["undef"])

    def literal(self):
        return self.one("1", "0", "-2", "3", "10", "2.5", "1e3", "0.1", "'a'", "'x y'", "''", "'é'", "\"q\"",
                        "true", "false", "none", "[]", "{}", "()", "'%s-%s'", "'{}|{}'", "','", "'l'", "' '")

    def collection(self, depth):
        e = lambda: self.expr(depth - 1)
        return self.one(lambda: "[%s]" % ", ".join(e() for _ in range(self.r.randint(0, 3))),
                        lambda: "(%s,)" % ", ".join(e() for _ in range(self.r.randint(1, 3))),
                        lambda: "{%s}" % ", ".join("%s: %s" % (self.one("'a'", "'b'", "1", "true", "none", "2.0"), e())
                                                   for _ in range(self.r.randint(0, 3))),
                        lambda: "range(%s)" % self.one("5", "2, 7", "10, 0, -3", "0", "i"))

    def index(self, depth):
        n = lambda: self.one("", "", "0", "1", "2", "-1", "-2", "5", "-9", "i", "none", "true")
        return self.one(lambda: "[%s]" % self.one("0", "-1", "1", "9", "'b'", "'name'", "'items'", "i", "none", "1.0", "true"),
                        lambda: "[%s:%s]" % (n(), n()), lambda: "[%s:%s:%s]" % (n(), n(), self.one("", "1", "2", "-1", "-2", "0")),
                        lambda: "." + self.one("b", "A", "name", "items", "v", "tag", "0", "foo", "real", "_x", "__class__", "append"))

    METHODS = ["upper()", "lower()", "title()", "capitalize()", "swapcase()", "casefold()", "strip()", "lstrip()", "rstrip()",
               "strip('H d')", "lstrip('  ')", "rstrip('ld\\n')", "split()", "split(',')", "split('l', 1)", "split(none, 1)", "split(sep=' ', maxsplit=1)",
               "rsplit('l', 1)", "rsplit()", "rsplit(none, 1)", "splitlines()", "splitlines(true)", "startswith('H')", "endswith(('d', 'x'))", "startswith('l', 2)",
               "replace('l', 'LL')", "replace('', '-')", "replace('l', '', 1)", "find('l')", "find('l', 4)", "rfind('l')", "index('o')", "index('zz')", "rindex('o')",
               "count('l')", "count('')", "count(1)", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "isnumeric()",
               "isdecimal()", "isidentifier()", "isprintable()", "isascii()", "zfill(8)", "ljust(9)", "rjust(9, '*')", "center(10)", "center(11, '-')", "expandtabs(4)",
               "partition('l')", "rpartition('l')", "removeprefix('He')", "removesuffix('ld')", "join(['a', 'b'])", "join(m)", "join('xyz')", "format(1, 2)", "format(*l)",
               "format(a=1)", "items()", "keys()", "values()", "get('b')", "get('zz', 5)", "get('b', default=1)", "copy()", "append(1)", "pop()", "update({})", "index(1)",
               "nope()", "upper(1)", "is_integer()", "bit_length()", "conjugate()", "fromkeys([1])"]

    FILTERS = ["upper", "lower", "title", "capitalize", "trim", "trim('H ')", "length", "count", "string", "list", "first", "last", "reverse", "reverse|list",
               "join", "join(', ')", "join('-', attribute='name')", "sort", "sort(reverse=true)", "sort(case_sensitive=true)", "sort(attribute='v')", "sort(attribute='name,v')",
               "unique|list", "unique(true)|list", "unique(attribute='name')|list", "min", "max", "max(attribute='v')", "min(case_sensitive=true)", "sum", "sum(attribute='v')", "sum(start=10)", "sum(start=[])",
               "map('upper')|list", "map(attribute='name')|list", "map(attribute='tag.id')|list", "map(attribute='tag.id', default=0)|list", "map('string')|join('/')", "map('length')|list",
               "map('default', 'D')|list", "map('nofilter')|list", "map|list", "map(attribute=0)|list",
               "select|list", "reject|list", "select('string')|list", "select('gt', 1)|list", "reject('none')|list", "select('odd')|list", "select('in', [1, 'a'])|list", "reject('nope')|list",
               "selectattr('v')|list", "selectattr('v', 'gt', 1)|list", "selectattr('tag.id', 'defined')|list", "rejectattr('tag')|list", "rejectattr('name', 'eq', 'x')|list", "selectattr|list",
               "default('D')", "default('D', true)", "d", "default", "replace('l', 'L')", "replace('a', 1)", "replace('l', 'x', 1)", "int", "int(5)", "int(default=3, base=16)", "float", "float(1.5)", "abs",
               "round", "round(1)", "round(-1)", "round(2, 'floor')", "round(0, 'ceil')", "round(method='floor')", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)", "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))",
               "tojson(indent='\\t')", "tojson(indent=0)", "items|list", "dictsort", "dictsort(true)", "dictsort(by='value')", "dictsort(reverse=true)", "dictsort(false, 'value')", "groupby('name')", "groupby('name')|map(attribute='list')|list", "groupby('v')|first", "groupby('tag.id', default=0)",
               "batch(2)|list", "batch(2, 'x')|list", "slice(2)|list", "slice(2, 'x')|list", "slice(0)|list", "indent", "indent(2, true)", "indent(width='> ', blank=true)", "indent(first=true)", "wordcount", "truncate(5)", "truncate(8, true)", "truncate(5, false, '', 0)", "truncate(7, end='…', leeway=0)",
               "center(20)", "escape", "e", "safe", "forceescape", "xmlattr", "urlencode", "format(1)", "format('a', 'b')", "format(a=1)", "filesizeformat", "attr('name')", "attr('upper')", "pprint", "safe|upper", "safe ~ '<'", "e|length"]

    TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "callable", "true", "false", "odd", "even",
             "divisibleby 2", "divisibleby(3)", "eq 1", "equalto('a')", "ne 2", "gt 1", "lt(5)", "ge 2", "le 0", "lessthan 3", "greaterthan 3", "in [1, 'a', none]", "in 'Hello'", "sameas none", "sameas true",
             "lower", "upper", "escaped", "filter", "test", "nope"]

    def expr(self, depth):
        if depth <= 0:
            return self.one(self.name, self.name, self.literal)
        d = depth - 1
        return self.one(
            self.name, self.literal, lambda: self.collection(depth),
            lambda: "%s%s" % (self.name(), self.index(d)), lambda: "(%s)%s" % (self.one(self.name, lambda: self.name() + "|list"), self.index(d)),
            lambda: "%s.%s" % (self.name(), self.r.choice(self.METHODS)), lambda: "%s.%s" % (self.name(), self.r.choice(self.METHODS)),
            lambda: "(%s).%s" % (self.expr(d), self.r.choice(self.METHODS)),
            lambda: "%s|%s" % (self.name(), self.r.choice(self.FILTERS)), lambda: "%s|%s" % (self.name(), self.r.choice(self.FILTERS)),
            lambda: "(%s)|%s" % (self.expr(d), self.r.choice(self.FILTERS)),
            lambda: "%s is %s%s" % (self.name(), self.one("", "not "), self.r.choice(self.TESTS)),
            lambda: "(%s) is %s" % (self.expr(d), self.r.choice(self.TESTS)),
            lambda: "%s %s %s" % (self.expr(d), self.one("+", "-", "*", "/", "//", "%", "**", "~", "and", "or", "==", "!=", "<", "<=", ">", ">=", "in", "not in"), self.expr(d)),
            lambda: "%s %s %s" % (self.name(), self.one("+", "-", "*", "/", "//", "%", "~", "and", "or", "==", "<", "in"), self.name()),
            lambda: "%s < %s <= %s" % (self.expr(d), self.expr(d), self.expr(d)),
            lambda: "%s%s" % (self.one("-", "+", "not "), self.expr(d)),
            lambda: "%s if %s else %s" % (self.expr(d), self.expr(d), self.expr(d)), lambda: "(%s if %s)" % (self.expr(d), self.expr(d)),
            lambda: "%s %% %s" % (self.one("'%s'", "'%d|'", "'%5.2f'", "'%-6s|'", "'%05d'", "'%x'", "'%r'", "'%+d %s'", "'%(b)s'", "'%c'", "'%e'", "'%g'", "'%.3s'", "'%%'"), self.expr(d)),
            lambda: "%s.format(%s)" % (self.one("'{}'", "'{:>8}'", "'{:05}'", "'{0}{0}'", "'{:.2f}'", "'{:,}'", "'{!r}'", "'{:<6}|'", "'{:^7}'", "'{:x}'", "'{:+}'", "'{:e}'", "'{:%}'", "'{:.3}'", "'{:_}'", "'{0.b}'", "'{0[0]}'", "'{:d}'", "'{:*^9}'", "'{:g}'"), self.expr(d)))

    def block(self, depth):
        e = lambda: self.expr(2)
        body = lambda: self.body(depth - 1)
        s, t = self.one("", "", "-", "+"), self.one("", "", "-")
        return self.one(
            lambda: "{{%s %s %s}}" % (s if s != "+" else "", e(), t), lambda: "{{ %s }}" % e(), lambda: "{{ %s }}" % self.name(),
            lambda: "{%% set %s = %s %%}" % (self.one("i", "new", "ns", "undef"), e()),
            lambda: "{%% set new, i = %s %%}" % e(),
            lambda: "{%% set new %%}%s{%% endset %%}" % body(), lambda: "{%% set new | %s %%}%s{%% endset %%}" % (self.one("upper", "trim", "length", "replace('a', 'b')"), body()),
            lambda: "{%%%s if %s %s%%}%s{%% elif %s %%}%s{%% else %%}%s{%% endif %%}" % (s, e(), t, body(), e(), body(), body()),
            lambda: "{%% if %s %%}%s{%%%s endif %s%%}\n" % (e(), body(), s, t),
            lambda: "{%% for new in %s %%}%s[{{ loop.index }}{{ loop.first }}{{ loop.last }}]{%% endfor %%}" % (self.name(), body()),
            lambda: "{%%%s for k, v in %s %s%%}{{ k }}={{ v }};%s{%% else %%}none{%% endfor %%}" % (s, self.one("d.items()", "d|dictsort", "d|items", "r|groupby('name')", "r", e), t, body()),
            lambda: "{%% for new in %s if %s %%}{{ loop.index0 }}/{{ loop.length }}{{ loop.revindex }}{{ loop.previtem is defined }}{{ loop.nextitem }}%s{%% endfor %%}" % (self.name(), e(), body()),
            lambda: "{%% for new in l %%}{%% if %s %%}{%% %s %%}{%% endif %%}%s{%% else %%}E{%% endfor %%}" % (e(), self.one("break", "continue"), body()),
            lambda: "{%% macro mm(a, bb=%s) %%}%s{{ a }}{{ bb }}{%% endmacro %%}{{ mm(%s) }}{{ mm(1, bb=%s) }}" % (e(), body(), e(), e()),
            lambda: "{%% with new = %s %%}%s{%% endwith %%}" % (e(), body()), lambda: "{%% filter %s %%}%s{%% endfilter %%}" % (self.one("upper", "trim", "indent(2)", "replace('a', 'b')", "e"), body()),
            lambda: "{%% set ns = namespace(a=%s) %%}{%% for new in l %%}{%% set ns.a = %s %%}{%% endfor %%}{{ ns.a }}" % (e(), e()),
            lambda: "{#%s comment %s#}\n" % (self.one("", "-"), t), lambda: "{% raw %}{{ x }}{% endraw %}", lambda: "{%% generation %%}%s{%% endgeneration %%}" % body())

    def body(self, depth):
        if depth <= 0:
            return self.one("text", " ", "\n", "  \n  ", "{{ i }}", "{{ new }}", "x\n")
        return "".join(self.one(lambda: self.block(depth), "\n", "  ", "a\n  ") for _ in range(self.r.randint(1, 3)))

    def template(self):
        return self.one(lambda: "{{ %s }}" % self.expr(2), lambda: "{{ %s }}" % self.expr(3), lambda: "{{ %s }}" % self.expr(1), lambda: self.body(3))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hand", type=int, default=1)
    args = parser.parse_args()
    grammar = Grammar(args.seed)
    snippets = hand_written() if args.hand else []
    snippets += [grammar.template() for _ in range(args.random)]
    print(json.dumps({"variables": VARIABLES}, ensure_ascii=False))
    for source in snippets:
        result = reference(source, copy.deepcopy(VARIABLES))
        if " at 0x" in result.get("expected", ""):
            continue  # the text of an object with its address
        print(json.dumps({"template": source, **result}, ensure_ascii=False))


main()
