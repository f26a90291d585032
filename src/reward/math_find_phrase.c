/* Finds sentences that state the answer: "the final answer is ...", "Answer: ...". */
#include <string.h>

#include "reward/math_find.h"

enum {
    MAX_STATEMENT = 2048, /* bytes of a sentence that states the answer */
    MAX_TRIES = 64        /* phrases looked at, from the last one backwards */
};

/* ---- phrases ---------------------------------------------------------------------------------- */

/* Skips Markdown and white space; at most one blank line. */
static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (math_text_is_space(*p) || *p == '*' || *p == '_'))
        p++;
    return p;
}

/* Skips words that say nothing: "therefore", "simply", "option". */
const char *find_skip_fillers(const char *p, const char *end)
{
    static const char *const fillers[] = {"therefore", "thus", "then", "simply", "just", "indeed", "now", "given by", "equal to",
                                          "exactly", "option", "choice", "letter"};
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        size_t n = strlen(fillers[i]);
        if (find_starts_ignoring_case(p, end, fillers[i]) && p + n < end && strchr(" ,:*", p[n])) {
            for (p += n; p < end && strchr(" ,:*", *p);)
                p++;
            i = (size_t)-1;
        }
    }
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
    if (q < end && *q == '"' && q + 1 < end && q[1] == ':') /* JSON */
        q++;
    if (q < end && (*q == ':' || *q == '='))
        return find_skip_fillers(skip_blank(q + 1, end), end);
    static const char *const verbs[] = {"\xe6\x98\xaf", "\xe4\xb8\xba", "is ", "is:", "is\n", "is$", "is\\", "would be ", "will be ", "should be ", "equals ", "was ", "are ", "is**", "is *"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (find_starts_ignoring_case(q, end, verbs[i])) {
            size_t n = strlen(verbs[i]);
            q += n - (verbs[i][n - 1] == '$' || verbs[i][n - 1] == '\\');
            q = skip_blank(q, end);
            if (q < end && *q == ':')
                q++;
            return find_skip_fillers(skip_blank(q, end), end);
        }
    return NULL;
}

/* The words after a number that may be its unit: "apples", "miles per hour", "cm^2". Returns their end, p
 * when what follows is more of a sentence. */
static const char *unit_tail(const char *p, const char *end)
{
    static const char *const others[] = {"because", "since", "as", "so", "and", "or", "which", "when", "if", "where", "for", "is",
                                         "are", "in", "with", "but", "by", "from", "after", "that", "then", "of", "than", "not"};
    const char *q = p;
    int words = 0;
    while (q < end && *q == ' ' && words < 5) {
        const char *word = q + 1;
        if (word >= end || !math_text_is_letter(*word))
            break;
        for (q = word; q < end && (math_text_is_letter(*q) || strchr("/^.-", *q) || math_text_is_digit(*q));)
            q++;
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (math_text_equals(math_slice_between(word, q), others[i]))
                return words ? word - 1 : p;
        words++;
    }
    return words > 4 || (q < end && !strchr(",.;:!)\n", *q) && math_text_is_letter(*q)) ? p : q;
}

/* "5 (five)", "5 (since 2+3=5)": without the remark. */
math_slice find_without_remark(math_slice s)
{
    const char *open = s.length && s.data[s.length - 1] == ')' ? memchr(s.data, '(', s.length) : NULL;
    if (!open || open == s.data || open[-1] != ' ' || !math_text_is_letter(open[1]) || !math_text_is_letter(open[2]) || !math_text_is_letter(open[3]))
        return s;
    return math_text_trim(math_slice_between(s.data, open));
}

/* Letters that are no function's name and no unit: the statement has words. */
static int has_words(math_slice s)
{
    for (size_t i = 0; i + 2 < s.length; i++)
        if (s.data[i] == ' ' && math_text_is_letter(s.data[i + 1]) && math_text_is_letter(s.data[i + 2]))
            return 1;
    return 0;
}

/* The answer inside a statement: words, an expression outside dollars ("x = 3", "2 sqrt(3)", "7/2 apples"),
 * the items it begins with, or its last one. */
static int read_statement(math_slice s, math_extract *out)
{
    find_item first;
    const unsigned links = LINK_OR | LINK_AND | LINK_COMMA;
    s = find_without_remark(find_strip_markup(s));
    const char *end = s.data + s.length;
    if (!s.length)
        return 0;
    if (!find_next_item(s.data, s.data, end, &first)) { /* words */
        *out = (math_extract){.pieces = {s}, .count = 1, .plain = 1, .words = 1};
        return 1;
    }
    int dollars = memchr(s.data, '$', s.length) != NULL || first.formula;
    if (!dollars && !has_words(s)) {
        *out = (math_extract){.pieces = {s}, .count = 1, .plain = 1};
        return 1;
    }
    const char *after = find_first_items(s, links, out);
    if (!after)
        return find_last_items(s, links, out);
    if (out->count == 1 && !first.formula)
        out->pieces[0] = math_slice_between(s.data, unit_tail(after, end));
    return 1;
}

/* The word at p that announces an answer: its length, 0 for others. */
static size_t announcing_word(const char *p, const char *end)
{
    static const char *const words[] = {"answers", "answer", "result", "option", "choice", "ans"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (find_starts_ignoring_case(p, end, words[i])) {
            size_t n = strlen(words[i]);
            return p + n < end && math_text_is_letter(p[n]) ? 0 : n;
        }
    return find_starts(p, end, "\xe7\xad\x94\xe6\xa1\x88") ? 6 : 0;
}

static int follows_final(const char *begin, const char *p)
{
    while (p > begin && (p[-1] == ' ' || p[-1] == '*'))
        p--;
    return p - begin >= 5 && math_text_starts(math_slice_between(p - 5, p), "final");
}

/* A statement ends with its sentence; displayed formulas span lines. */
static const char *statement_end(const char *p, const char *end)
{
    math_slice content;
    const char *after;
    if ((find_starts(p, end, "\\[") || find_starts(p, end, "$$")) && find_formula(p, end, &content, &after))
        return after;
    return find_sentence_end(p, end);
}

/* Where the statement begins that the word at p announces; NULL when it announces none. */
static const char *announced(const finder *f, const char *p, int final)
{
    if (p > f->begin && math_text_is_letter(p[-1]))
        return NULL;
    size_t word = announcing_word(p, f->end);
    if (!word) {
        int label = !final && *p == 'A' && p + 1 < f->end && p[1] == ':' && (p == f->begin || p[-1] == '\n');
        return label ? skip_blank(p + 2, f->end) : NULL;
    }
    if (follows_final(f->begin, p) != final)
        return NULL;
    const char *after = p + word;
    if (final && after < f->end && (find_starts(after, f->end, "**\n") || *after == '\n'))
        return skip_blank(after, f->end);
    return statement_after(after, f->end);
}

/* The last "answer is"/"Answer:" (or with `final` before it). Returns its position. */
const char *find_phrase(const finder *f, int final, math_extract *out)
{
    int tries = 0;
    for (const char *p = f->end; p-- > f->begin && tries < MAX_TRIES;) {
        if (*p != 'a' && *p != 'A' && *p != 'r' && *p != 'R' && *p != 'o' && *p != 'O' && *p != 'c' && *p != 'C' && *p != '\xe7')
            continue;
        const char *after = announced(f, p, final);
        if (!after || after >= f->end)
            continue;
        math_extract candidate = {0};
        const char *limit = f->end - after > MAX_STATEMENT ? after + MAX_STATEMENT : f->end;
        tries++;
        if (read_statement(math_slice_between(after, statement_end(after, limit)), &candidate)) {
            *out = candidate;
            return p;
        }
    }
    return NULL;
}
