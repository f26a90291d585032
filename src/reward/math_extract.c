/* Finds the answer in a response. The strong marks are \boxed, <answer>, #### and "final answer is"; the
 * last strong mark wins. Without one: the last "answer is" or "Answer:"; then a response that is nothing
 * but an answer; then the last formula or number. One pass over the text per kind of mark. */
#include <string.h>

#include "grpo/reward.h"
#include "reward/math_extract.h"

typedef struct finder {
    const char *begin, *end;
    unsigned from;
} finder;

static math_slice slice(const char *begin, const char *end)
{
    return (math_slice){begin, end > begin ? (size_t)(end - begin) : 0};
}

static int starts(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static int starts_ignoring_case(const char *p, const char *end, const char *lower)
{
    return math_text_starts(slice(p, end), lower);
}

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
        if (starts(p, end, names[i])) {
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
        return (box){p, close + 1, slice(q + 1, close), 1};
    }
    const char *stop = q; /* \boxed 42 */
    while (stop < end && !math_text_is_space(*stop) && !strchr("$.,;\\", *stop))
        stop++;
    return (box){p, stop, slice(q, stop), stop > q};
}

/* The formula that opens at p: its content, and where it ends. 0 when p opens none. */
static int read_formula(const char *p, const char *end, math_slice *content, const char **after)
{
    const char *close = NULL, *open;
    if (starts(p, end, "\\(") || starts(p, end, "\\[")) {
        open = p + 2;
        for (const char *q = open; q + 1 < end; q++)
            if (*q == '\\' && q[1] == (p[1] == '(' ? ')' : ']')) {
                close = q;
                break;
            } else if (*q == '\\') {
                q++;
            }
        if (!close)
            return 0;
        *after = close + 2;
    } else if (starts(p, end, "$$")) {
        open = p + 2;
        for (const char *q = open; q + 1 < end && !close; q++)
            close = *q == '$' && q[1] == '$' ? q : NULL;
        if (!close)
            return 0;
        *after = close + 2;
    } else if (*p == '$' && p + 1 < end) {
        open = p + 1;
        if (math_text_is_space(*open) && !(open + 1 < end && math_text_is_space(open[-1])) && open + 1 >= end)
            return 0;
        for (const char *q = open; q < end && q - open < 4000; q++) {
            if (*q == '\\')
                q++;
            else if (*q == '$') {
                close = q;
                break;
            } else if (*q == '\n' && q + 1 < end && q[1] == '\n')
                break;
        }
        if (!close || close == open)
            return 0;
        /* "costs $5 and $6": an amount of money, not a formula */
        int amount = math_text_is_digit(*open) && (math_text_is_space(close[-1]) || close[-1] == '(') && close + 1 < end &&
                     math_text_is_digit(close[1]);
        int prose = 0, run = 0;
        for (const char *q = open; q < close; q++) {
            run = math_text_is_letter(*q) ? run + 1 : 0;
            prose |= run > 3 && (q - run < open || q[-run] != '\\') && memchr(open, '{', (size_t)(close - open)) == NULL;
        }
        if (amount || (prose && math_text_is_digit(*open) && close + 1 < end && math_text_is_digit(close[1])))
            return 0;
        *after = close + 1;
    } else {
        return 0;
    }
    *content = slice(open, close);
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
            if (math_text_equals(slice(word, p), words[i]))
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
        last = slice(word, p);
        letters = 1;
    }
    return !letters || math_text_equals(last, "and") || math_text_equals(last, "or");
}

/* The last box of the text, with the boxes before it that belong to it. Boxes inside boxes count as
 * their contents. Returns where the last box begins, NULL when there is none. */
static const char *find_boxes(const finder *f, math_extract *out)
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
static math_slice unwrap_boxes(math_slice s)
{
    size_t name;
    for (;;) {
        s = math_text_trim(s);
        const char *end = s.data + s.length;
        if (!s.length || !is_box(s.data, end, &name) || s.data + name >= end || s.data[name] != '{' || end[-1] != '}')
            return s;
        s = slice(s.data + name + 1, end - 1);
    }
}

/* ---- pieces of prose ------------------------------------------------------------------------ */

/* Drops Markdown, quotes and colons at both ends. */
static math_slice strip_markup(math_slice s)
{
    for (;;) {
        size_t before = s.length;
        s = math_text_trim(s);
        while (s.length && strchr("*_`\"':", s.data[0]) && !(s.data[0] == '\'' && s.length == 1))
            s.data++, s.length--;
        while (s.length && strchr("*_`\"", s.data[s.length - 1]) &&
               !(s.data[s.length - 1] == '_' && s.length > 1 && s.data[s.length - 2] == '\\'))
            s.length--;
        if (s.length == before)
            return s;
    }
}

/* The end of the sentence that begins at p: a full stop before white space, a blank line, a line's end. */
static const char *sentence_end(const char *p, const char *end)
{
    int depth = 0;
    for (const char *q = p; q < end; q++) {
        if (*q == '{')
            depth++;
        if (*q == '}' && depth)
            depth--;
        if (*q == '\n' && (depth == 0 || (q + 1 < end && q[1] == '\n')))
            return q;
        if ((*q == '.' || *q == '!' || *q == '?') && depth == 0 && (q + 1 >= end || math_text_is_space(q[1])) && q > p &&
            !(q[-1] == 'm' && q - p > 2 && q[-2] == '.') && (q + 1 >= end || *q != '!' ))
            return q;
    }
    return end;
}

/* A number in prose at p: sign, currency, digits with separators, fraction, power mark, percent. */
static const char *number_end(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && (*q == '-' || *q == '+' || *q == '$' || *q == '\\'))
        q++;
    const char *digits = q;
    while (q < end) {
        if (math_text_is_digit(*q))
            q++;
        else if (q > digits && (*q == ',' || *q == '.' || *q == '/' || *q == ':' || *q == '^') && q + 1 < end && math_text_is_digit(q[1]))
            q++;
        else if (*q == '.' && q == digits && q + 1 < end && math_text_is_digit(q[1]))
            q++;
        else if (q > digits && starts(q, end, "{,}") && q + 3 < end && math_text_is_digit(q[3]))
            q += 3;
        else if (q > digits && *q == ' ' && end - q > 3 && math_text_is_digit(q[1]) && math_text_is_digit(q[2]) && math_text_is_digit(q[3]) &&
                 (end - q == 4 || !math_text_is_digit(q[4])) && q - digits <= 3)
            q++;
        else if (q > digits && (*q == 'e' || *q == 'E') && end - q > 2 && (q[1] == '-' || q[1] == '+') && math_text_is_digit(q[2]))
            q += 2;
        else
            break;
    }
    if (q == digits)
        return p;
    if (q < end && *q == '%')
        q++;
    else if (starts(q, end, "\\%"))
        q += 2;
    return q;
}

static int begins_number(const char *begin, const char *p, const char *end)
{
    char before = p > begin ? p[-1] : ' ';
    if (math_text_is_digit(*p) || (*p == '.' && p + 1 < end && math_text_is_digit(p[1])))
        return !math_text_is_letter(before) && !math_text_is_digit(before) && before != '_';
    if ((*p == '$' || *p == '-' || *p == '+') && p + 1 < end)
        return (math_text_is_digit(p[1]) || (strchr("$-.", p[1]) && p + 2 < end && math_text_is_digit(p[2]))) &&
               !math_text_is_letter(before) && !math_text_is_digit(before) && before != ')' && before != '}';
    return 0;
}

typedef struct item {
    math_slice text;
    const char *begin, *end;
    int formula;
} item;

static int is_lone_symbol(math_slice s)
{
    s = math_text_trim(s);
    return s.length == 1 && math_text_is_letter(s.data[0]);
}

/* The next formula or number from p on. */
static int next_item(const char *begin, const char *p, const char *end, item *out)
{
    for (; p < end; p++) {
        math_slice content;
        const char *after;
        if ((*p == '$' || *p == '\\') && read_formula(p, end, &content, &after)) {
            *out = (item){content, p, after, 1};
            return 1;
        }
        if (*p == '\\' && p + 1 < end && p[1] == '$') /* \$5 */
            continue;
        if (begins_number(begin, p, end)) {
            after = number_end(p, end);
            if (after > p) {
                *out = (item){slice(p, after), p, after, 0};
                return 1;
            }
        }
    }
    return 0;
}

/* "2 or 3", "either 2 or 3", "6 and 8": whether the text between two items makes one answer of them. */
static int connects(const char *p, const char *end, int with_and)
{
    math_slice s = math_text_trim(slice(p, end));
    while (s.length && (s.data[0] == ',' || s.data[0] == ' '))
        s.data++, s.length--;
    return math_text_equals(s, "or") || (with_and && (math_text_equals(s, "and") || s.length == 0));
}

/* The last item of a stretch of prose with those joined to it. */
static int last_item(math_slice s, int with_and, math_extract *out)
{
    const char *end = s.data + s.length;
    item current, chosen = {0};
    int have = 0;
    const char *start = NULL;
    for (const char *p = s.data; next_item(s.data, p, end, &current); p = current.end) {
        if (have && is_lone_symbol(current.text) && current.formula && !is_lone_symbol(chosen.text))
            continue; /* "where $n$ is ..." */
        int joined = have && connects(chosen.end, current.begin, with_and);
        start = joined ? start : current.begin;
        chosen = current;
        have = 1;
    }
    if (!have)
        return 0;
    out->count = 1;
    out->plain = !chosen.formula || start != chosen.begin;
    out->pieces[0] = start == chosen.begin ? chosen.text : slice(start, chosen.end);
    return 1;
}

/* ---- phrases ---------------------------------------------------------------------------------- */

/* Skips Markdown and white space; at most one blank line. */
static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (math_text_is_space(*p) || *p == '*' || *p == '_'))
        p++;
    return p;
}

/* After the words "answer" (or "final answer") at p: where the statement begins, NULL when none follows. */
static const char *statement_after(const char *p, const char *end)
{
    const char *q = p;
    while (q < end && (*q == '*' || *q == ' ' || *q == '_'))
        q++;
    if (q < end && *q == '(') { /* "Answer (in cm): " */
        const char *close = memchr(q, ')', (size_t)(end - q) < 40 ? (size_t)(end - q) : 40);
        if (close)
            for (q = close + 1; q < end && (*q == '*' || *q == ' ');)
                q++;
    }
    if (q < end && (*q == ':' || *q == '='))
        return skip_blank(q + 1, end);
    static const char *const verbs[] = {"is ", "is:", "is\n", "is$", "is\\", "would be ", "will be ", "should be ", "equals ", "was ", "are ", "is**", "is *"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (starts_ignoring_case(q, end, verbs[i])) {
            size_t n = strlen(verbs[i]);
            q += n - (verbs[i][n - 1] == '$' || verbs[i][n - 1] == '\\');
            q = skip_blank(q, end);
            if (q < end && *q == ':')
                q++;
            return skip_blank(q, end);
        }
    return NULL;
}

/* The answer inside a statement: one formula, a whole expression, or its first or last item. */
static int read_statement(math_slice s, math_extract *out)
{
    const char *end = s.data + s.length;
    s = strip_markup(s);
    if (!s.length)
        return 0;
    item first;
    int any = next_item(s.data, s.data, end = s.data + s.length, &first);
    if (!any) { /* words */
        out->count = 1;
        out->plain = 1;
        out->words = 1;
        out->pieces[0] = s;
        return 1;
    }
    /* a statement that is an expression outside dollars: "x = 3", "2 sqrt(3)", "7/2 apples" */
    int dollars = memchr(s.data, '$', s.length) != NULL || first.formula;
    int words = 0;
    for (const char *p = s.data; p < end && !words; p++)
        words = *p == ' ' && p + 1 < end && math_text_is_letter(p[1]);
    if (!dollars && (first.begin == s.data || !words)) {
        math_slice whole = s;
        if (words && first.begin == s.data) { /* number, then words: a unit, or more of a sentence */
            const char *stop = first.end;
            while (stop < end && *stop != ',' && *stop != ';' && *stop != '(')
                stop++;
            whole = slice(s.data, stop);
        }
        out->count = 1;
        out->plain = 1;
        out->pieces[0] = whole;
        return 1;
    }
    if (first.begin == s.data) { /* begins with an item: that one, with what is joined to it */
        const char *stop = first.end;
        item next;
        while (next_item(s.data, stop, end, &next) && connects(stop, next.begin, 1))
            stop = next.end;
        out->count = 1;
        out->plain = stop != first.end || !first.formula;
        out->pieces[0] = stop == first.end ? first.text : slice(s.data, stop);
        return 1;
    }
    return last_item(s, 1, out);
}

/* The last "answer is"/"Answer:" (or with `final` before it). Returns its position. */
static const char *find_phrase(const finder *f, int final, math_extract *out)
{
    const char *found = NULL;
    for (const char *p = f->begin; p < f->end; p++) {
        if ((*p != 'a' && *p != 'A') || (p > f->begin && math_text_is_letter(p[-1])))
            continue;
        const char *after;
        if (starts_ignoring_case(p, f->end, "answer")) {
            const char *q = p;
            while (q > f->begin && (q[-1] == ' ' || q[-1] == '*'))
                q--;
            int is_final = q - f->begin >= 5 && math_text_starts(slice(q - 5, q), "final");
            if (is_final != final)
                continue;
            after = p + 6;
            if (final && after < f->end && (starts(after, f->end, "**\n") || *after == '\n')) {
                after = skip_blank(after, f->end);
                goto statement;
            }
            after = statement_after(after, f->end);
        } else if (!final && *p == 'A' && p + 1 < f->end && p[1] == ':' && (p == f->begin || p[-1] == '\n')) {
            after = skip_blank(p + 2, f->end);
        } else {
            continue;
        }
        if (!after || after >= f->end)
            continue;
    statement:;
        math_extract candidate = {0};
        const char *stop = sentence_end(after, f->end);
        if (starts(after, f->end, "\\[") || starts(after, f->end, "$$")) { /* displayed formulas span lines */
            math_slice content;
            const char *end;
            if (read_formula(after, f->end, &content, &end))
                stop = end;
        }
        if (read_statement(slice(after, stop), &candidate)) {
            *out = candidate;
            found = p;
        }
    }
    return found;
}

/* ---- tags and markers ---------------------------------------------------------------------------- */

static const char *find_last(const char *begin, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = end - n; p >= begin; p--)
        if (*p == *word && memcmp(p, word, n) == 0)
            return p;
    return NULL;
}

static const char *find_tag(const finder *f, math_slice *content)
{
    const char *close = (size_t)(f->end - f->begin) >= 9 ? find_last(f->begin, f->end, "</answer>") : NULL;
    const char *open = close ? find_last(f->begin, close, "<answer>") : NULL;
    if (!open || open + 8 > close)
        return NULL;
    *content = slice(open + 8, close);
    return open;
}

static const char *find_marker(const finder *f, math_slice *content)
{
    const char *mark = f->end - f->begin >= 4 ? find_last(f->begin, f->end, "####") : NULL;
    if (!mark)
        return NULL;
    const char *p = mark + 4;
    while (p < f->end && (*p == ' ' || *p == '\t'))
        p++;
    const char *stop = p;
    while (stop < f->end && *stop != '\n')
        stop++;
    *content = strip_markup(slice(p, stop));
    return content->length ? mark : NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

/* Cuts reasoning in front and what follows the end of the turn. */
static void frame_response(finder *f)
{
    static const char *const ends[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|im_start|>", "</s>", "<|end|>", "<end_of_turn>"};
    const char *think = f->end - f->begin >= 8 ? find_last(f->begin, f->end, "</think>") : NULL;
    if (think && math_text_trim(slice(think + 8, f->end)).length)
        f->begin = think + 8;
    for (const char *p = f->begin; p < f->end && (p = memchr(p, '<', (size_t)(f->end - p))) != NULL; p++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (starts(p, f->end, ends[i]) && math_text_trim(slice(f->begin, p)).length) {
                f->end = p;
                return;
            }
}

static void use_slice(math_extract *out, math_slice s, const char *source)
{
    const char *problem = NULL;
    *out = (math_extract){.count = 1, .plain = 1, .source = source, .problem = problem};
    out->pieces[0] = s;
}

/* Content of a tag or marker: a formula's delimiters are dropped, boxes are opened. */
static int read_content(math_slice content, math_extract *out, const char *source, unsigned from)
{
    content = strip_markup(content);
    if (!content.length) {
        *out = (math_extract){.source = source, .problem = "it is empty"};
        return 1;
    }
    finder inner = {content.data, content.data + content.length, from};
    math_extract boxes = {0};
    if (find_boxes(&inner, &boxes)) {
        *out = boxes;
        out->source = source;
        return 1;
    }
    math_slice formula;
    const char *after;
    if (read_formula(content.data, inner.end, &formula, &after) && after == inner.end) {
        use_slice(out, formula, source);
        out->plain = 0;
        return 1;
    }
    math_extract statement = {0};
    if (content.length > 60 || memchr(content.data, '\n', content.length)) {
        if (find_phrase(&inner, 1, &statement) || find_phrase(&inner, 0, &statement) || last_item(content, 0, &statement)) {
            *out = statement;
            out->source = source;
            return 1;
        }
    }
    use_slice(out, content, source);
    return 1;
}

/* Strong marks: the last one in the text wins. */
static int find_strong(const finder *f, math_extract *out)
{
    const char *best = NULL, *at;
    math_extract candidate = {0};
    math_slice content;
    if ((f->from & GRPO_MATH_FROM_FINAL) && (at = find_phrase(f, 1, &candidate)) != NULL) {
        best = at;
        *out = candidate;
        out->source = "final";
    }
    candidate = (math_extract){0};
    if ((f->from & GRPO_MATH_FROM_BOX) && (at = find_boxes(f, &candidate)) != NULL && at > best) {
        best = at;
        *out = candidate;
        out->source = "box";
    }
    if ((f->from & GRPO_MATH_FROM_MARKER) && (at = find_marker(f, &content)) != NULL && at > best) {
        best = at;
        read_content(content, out, "marker", f->from);
    }
    if ((f->from & GRPO_MATH_FROM_TAG) && (at = find_tag(f, &content)) != NULL && (at > best || best < content.data + content.length)) {
        best = at;
        read_content(content, out, "tag", f->from);
    }
    return best != NULL;
}

/* A response that is short and on one line may be nothing but the answer. */
static int is_bare(math_slice s)
{
    return s.length <= 400 && !memchr(s.data, '\n', s.length);
}

/* Words in a text, LaTeX commands not counted. */
static int count_words(math_slice s)
{
    int words = 0;
    size_t run = 0;
    for (size_t i = 0; i <= s.length; i++) {
        if (i < s.length && math_text_is_letter(s.data[i])) {
            run++;
            continue;
        }
        words += run >= 2 && !(i > run && s.data[i - run - 1] == '\\');
        run = 0;
    }
    return words;
}

/* "7/2", "x = 3", "18 dollars", "sqrt(2)", "no solution" are answers; "Therefore, 2 + 3 = 5" and "5 is too
 * small" are sentences. */
static int has_prose(math_slice s)
{
    static const char *const openers[] = {"therefore", "thus", "hence", "so", "then", "finally", "we", "the", "it", "she", "he", "they", "there", "this", "that", "now", "since", "because", "in", "if", "for", "at", "let"};
    size_t n = 0;
    while (n < s.length && math_text_is_letter(s.data[n]))
        n++;
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++)
        if (n < s.length && math_text_equals((math_slice){s.data, n}, openers[i]))
            return 1;
    return count_words(s) > 2;
}

void math_extract_answer(math_extract *out, math_slice response, unsigned from)
{
    finder f = {response.data, response.data + response.length, from ? from : GRPO_MATH_FROM_ALL};
    *out = (math_extract){.source = "none", .problem = "the response holds no answer"};
    frame_response(&f);
    math_slice body = strip_markup(slice(f.begin, f.end));
    if (!body.length)
        return;
    math_extract found = {0};
    if (find_strong(&f, &found)) {
        *out = found;
        for (int i = 0; i < out->count; i++)
            if (!(out->pieces[i] = unwrap_boxes(out->pieces[i])).length && out->count == 1)
                *out = (math_extract){.source = found.source, .problem = "the answer is empty"};
        return;
    }
    if ((f.from & GRPO_MATH_FROM_PHRASE) && find_phrase(&f, 0, &found)) {
        *out = found;
        out->source = "phrase";
        return;
    }
    math_slice formula;
    const char *after;
    if ((f.from & GRPO_MATH_FROM_WHOLE) && is_bare(body)) {
        if (read_formula(body.data, body.data + body.length, &formula, &after) && after == body.data + body.length) {
            use_slice(out, formula, "whole");
            out->plain = 0;
            return;
        }
        if (!memchr(body.data, '$', body.length) && !has_prose(body)) {
            use_slice(out, body, "whole");
            return;
        }
    }
    found = (math_extract){0};
    if ((f.from & GRPO_MATH_FROM_LAST) && last_item(slice(f.begin, f.end), 0, &found)) {
        *out = found;
        out->source = "last";
    }
}

void math_extract_gold(math_extract *out, math_slice gold)
{
    finder f = {gold.data, gold.data + gold.length, GRPO_MATH_FROM_ALL};
    math_slice body = math_text_trim(gold), formula, content;
    const char *after;
    *out = (math_extract){.source = "none", .problem = "the reference is empty"};
    if (!body.length)
        return;
    math_extract boxes = {0};
    if (find_boxes(&f, &boxes) && boxes.count) {
        *out = boxes;
        out->source = "box";
        for (int i = 0; i < out->count; i++)
            out->pieces[i] = unwrap_boxes(out->pieces[i]);
        return;
    }
    if (find_marker(&f, &content)) {
        read_content(content, out, "marker", f.from);
        return;
    }
    if (read_formula(body.data, body.data + body.length, &formula, &after) && after == body.data + body.length) {
        use_slice(out, formula, "formula");
        out->plain = 0;
        return;
    }
    use_slice(out, body, "whole");
    out->plain = !memchr(body.data, '\\', body.length) && !memchr(body.data, '$', body.length);
}
