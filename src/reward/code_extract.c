/* Fenced blocks, as CommonMark has them, and as models write them. */
#include "reward/code_extract.h"

#include <string.h>
#include <strings.h>

code_language code_language_of(const char *name, size_t length)
{
    static const struct {
        const char *name;
        code_language language;
    } known[] = {{"python", CODE_PYTHON}, {"py", CODE_PYTHON}, {"python3", CODE_PYTHON}, {"py3", CODE_PYTHON}, {"c", CODE_C},
                 {"c99", CODE_C}, {"c11", CODE_C}, {"c17", CODE_C}};
    if (length == 0)
        return CODE_UNKNOWN;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].name) == length && strncasecmp(known[i].name, name, length) == 0)
            return known[i].language;
    return CODE_OTHER;
}

/* ---- lines ------------------------------------------------------------------------------------- */

typedef struct line {
    const char *text;
    size_t length; /* without its end */
    size_t whole;  /* with it */
} line;

static line line_at(const char *p, const char *end)
{
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    line l = {p, (size_t)((stop ? stop : end) - p), (size_t)((stop ? stop + 1 : end) - p)};
    while (l.length && (l.text[l.length - 1] == '\r' || l.text[l.length - 1] == ' ' || l.text[l.length - 1] == '\t'))
        l.length--;
    return l;
}

static size_t run_of(const char *p, size_t length, char c)
{
    size_t n = 0;
    while (n < length && p[n] == c)
        n++;
    return n;
}

static size_t blanks_of(const line *l)
{
    size_t n = 0;
    while (n < l->length && (l->text[n] == ' ' || l->text[n] == '\t'))
        n++;
    return n;
}

typedef struct fence {
    char mark;
    size_t count, indent;
    code_language language;
} fence;

/* A fence that begins a block. One that stands behind other text counts only with a language that is run here. */
static int opens(const line *l, fence *f)
{
    for (size_t at = blanks_of(l); at < l->length; at++) {
        char mark = l->text[at];
        size_t count = mark == '`' || mark == '~' ? run_of(l->text + at, l->length - at, mark) : 0;
        if (count < 3)
            continue;
        const char *info = l->text + at + count;
        size_t left = l->length - at - count, word = 0;
        while (left && (*info == ' ' || *info == '{' || *info == '.'))
            info++, left--;
        while (word < left && !strchr(" \t{},:", info[word]))
            word++;
        *f = (fence){mark, count, at, code_language_of(info, word)};
        int first = at == blanks_of(l);
        if (!first)
            f->indent = 0;
        return !memchr(info, '`', left) && (first || ((f->language == CODE_PYTHON || f->language == CODE_C) && word == left));
    }
    return 0;
}

static int closes(const line *l, const fence *f)
{
    size_t at = blanks_of(l), count = run_of(l->text + at, l->length - at, f->mark);
    return count >= f->count && at + count == l->length;
}

/* ---- blocks ---------------------------------------------------------------------------------------- */

/* The block that a fence begins; *next is where reading goes on. */
static code_program read_block(const char *begin, const char *end, const fence *f, const char **next)
{
    const char *p = begin;
    code_program block = {.text = begin, .indent = f->indent, .language = f->language, .fenced = 1};
    while (p < end) {
        line l = line_at(p, end);
        if (closes(&l, f)) {
            block.length = (size_t)(p - begin);
            *next = p + l.whole;
            return block;
        }
        p += l.whole;
    }
    block.length = (size_t)(end - begin);
    *next = end;
    return block;
}

static const char *after_thinking(const char *text, const char *end)
{
    static const char tag[] = "</think>";
    const char *after = text;
    for (const char *p = text; (size_t)(end - p) >= sizeof tag - 1; p++)
        if (*p == '<' && memcmp(p, tag, sizeof tag - 1) == 0)
            after = p + sizeof tag - 1;
    return after;
}

code_program code_extract(const char *response, size_t length, code_language want)
{
    const char *end = response + length, *start = after_thinking(response, end);
    code_program tagged = {0}, bare = {0}, other = {0};
    for (const char *p = start; p < end;) {
        line l = line_at(p, end);
        fence f;
        p += l.whole;
        if (!opens(&l, &f))
            continue;
        code_program block = read_block(p, end, &f, &p);
        if (want == CODE_UNKNOWN ? f.language == CODE_PYTHON || f.language == CODE_C : f.language == want)
            tagged = block;
        else if (f.language == CODE_UNKNOWN)
            bare = block;
        else
            other = block;
    }
    if (tagged.fenced || bare.fenced || other.fenced)
        return tagged.fenced ? tagged : bare.fenced ? bare : other;
    return (code_program){.text = start, .length = (size_t)(end - start)};
}
