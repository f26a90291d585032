/* Finds formulas and boxes. */
#include <string.h>

#include "reward/math_find.h"

enum { MAX_FORMULA = 8192 /* bytes */ };

/* ---- brackets and formulas ---------------------------------------------------------------- */

/* The brace that closes the one at p, or NULL. */
static const char *closing_brace(const char *p, const char *end)
{
    int depth = 0;
    for (; p < end; p++) {
        if (*p == '\\' && p + 1 < end && p[1] != '\\')
            p++;
        else if (*p == '{')
            depth++;
        else if (*p == '}' && --depth == 0)
            return p;
    }
    return NULL;
}

static int is_box(const char *p, const char *end, size_t *length)
{
    static const char *const names[] = {"\\boxed", "\\fbox", "\\framebox"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (find_starts(p, end, names[i])) {
            *length = strlen(names[i]);
            return p + *length >= end || !math_text_is_letter(p[*length]);
        }
    return 0;
}

typedef struct box {
    const char *begin, *end; /* the whole command */
    math_slice content;
    int closed;
} box;

/* Reads the box command at p. */
static box read_box(const char *p, const char *end, size_t name)
{
    const char *q = p + name;
    while (q < end && math_text_is_space(*q))
        q++;
    if (q < end && *q == '{') {
        const char *close = closing_brace(q, end);
        if (!close)
            return (box){p, end, {q + 1, 0}, 0};
        return (box){p, close + 1, math_slice_between(q + 1, close), 1};
    }
    const char *stop = q; /* \boxed 42 */
    while (stop < end && !math_text_is_space(*stop) && !strchr("$.,;\\", *stop))
        stop++;
    return (box){p, stop, math_slice_between(q, stop), stop > q};
}

/* \( ... \) and \[ ... \] */
static const char *close_command(const char *open, const char *end, char bracket)
{
    for (const char *q = open; q + 1 < end && q - open < MAX_FORMULA; q++) {
        if (*q == '\\' && q[1] == bracket)
            return q;
        if (*q == '\\')
            q++;
    }
    return NULL;
}

static const char *close_dollars(const char *open, const char *end)
{
    for (const char *q = open; q + 1 < end && q - open < MAX_FORMULA; q++)
        if (*q == '$' && q[1] == '$')
            return q;
    return NULL;
}

/* A single dollar closes within its paragraph. */
static const char *close_dollar(const char *open, const char *end)
{
    for (const char *q = open; q < end && q - open < MAX_FORMULA / 2; q++) {
        if (*q == '\\')
            q++;
        else if (*q == '$')
            return q > open ? q : NULL;
        else if (*q == '\n' && q + 1 < end && q[1] == '\n')
            return NULL;
    }
    return NULL;
}

/* Words of four letters and more, other than commands. */
static int holds_prose(const char *p, const char *end)
{
    int run = 0;
    for (const char *q = p; q < end; q++) {
        run = math_text_is_letter(*q) ? run + 1 : 0;
        if (run > 3 && (q - run < p || q[-run] != '\\') && !memchr(p, '{', (size_t)(end - p)))
            return 1;
    }
    return 0;
}

/* "costs $5 and $6", "$20 today ... $6": amounts of money, no formula. */
static int are_amounts(const char *open, const char *close, const char *end)
{
    if (!math_text_is_digit(*open) || close + 1 >= end || !math_text_is_digit(close[1]))
        return 0;
    return math_text_is_space(close[-1]) || close[-1] == '(' || holds_prose(open, close);
}

int find_formula(const char *p, const char *end, math_slice *content, const char **after)
{
    const char *open = p + 2, *close = NULL;
    if (find_starts(p, end, "\\(") || find_starts(p, end, "\\["))
        close = close_command(open, end, p[1] == '(' ? ')' : ']');
    else if (find_starts(p, end, "$$"))
        close = close_dollars(open, end);
    else if (*p == '$' && p + 1 < end && (close = close_dollar(open = p + 1, end)) != NULL && are_amounts(open, close, end))
        close = NULL;
    if (!close)
        return 0;
    *content = math_slice_between(open, close);
    *after = close + (open - p);
    return 1;
}

/* ---- boxes -------------------------------------------------------------------------------- */

static int is_correction(const char *p, const char *end)
{
    static const char *const words[] = {"no", "not", "wait", "actually", "instead", "mistake", "wrong", "sorry", "correct",
                                        "rather", "but", "however", "hence", "so", "thus", "therefore", "becomes"};
    while (p < end) {
        while (p < end && !math_text_is_letter(*p))
            p++;
        const char *word = p;
        while (p < end && math_text_is_letter(*p))
            p++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (math_text_equals(math_slice_between(word, p), words[i]))
                return 1;
    }
    return 0;
}

/* Whether two boxes with this text between them state one answer: "\boxed{1} and \boxed{2}". */
static int joins_boxes(const char *p, const char *end)
{
    math_slice last = {NULL, 0};
    if (end - p > 80 || is_correction(p, end))
        return 0;
    int letters = 0, newlines = 0;
    for (const char *q = p; q < end; q++)
        newlines += *q == '\n';
    if (newlines > 1)
        return 0;
    while (p < end) {
        if (*p == '\\') { /* commands are no words */
            p++;
            if (p < end && !math_text_is_letter(*p))
                p++;
            while (p < end && math_text_is_letter(*p))
                p++;
            continue;
        }
        if (!math_text_is_letter(*p)) {
            p++;
            continue;
        }
        const char *word = p;
        while (p < end && math_text_is_letter(*p))
            p++;
        last = math_slice_between(word, p);
        letters = 1;
    }
    return !letters || math_text_equals(last, "and") || math_text_equals(last, "or");
}

/* The last box of the text, with the boxes before it that belong to it. Boxes inside boxes count as
 * their contents. Returns where the last box begins, NULL when there is none. */
const char *find_boxes(const finder *f, math_extract *out)
{
    const char *previous_end = NULL, *found = NULL;
    size_t name;
    for (const char *p = f->begin; p < f->end && (p = memchr(p, '\\', (size_t)(f->end - p))) != NULL;) {
        if (!is_box(p, f->end, &name)) {
            p++;
            continue;
        }
        box b = read_box(p, f->end, name);
        int joined = previous_end && b.closed && out->count && out->count < MATH_MAX_PIECES && joins_boxes(previous_end, p);
        if (!joined)
            out->count = 0;
        out->problem = b.closed ? NULL : "the box is not closed";
        if (b.closed)
            out->pieces[out->count++] = b.content;
        found = p;
        previous_end = b.end;
        p = b.end;
    }
    return found;
}

/* \boxed{\boxed{x}} is x. */
math_slice find_unwrap_boxes(math_slice s)
{
    size_t name;
    for (;;) {
        s = math_text_trim(s);
        const char *end = s.data + s.length;
        if (!s.length || !is_box(s.data, end, &name) || s.data + name >= end || s.data[name] != '{' || end[-1] != '}')
            return s;
        s = math_slice_between(s.data + name + 1, end - 1);
    }
}
