/* Finds the answer in a response. The strong marks are \boxed, <answer>, #### and "final answer is"; the
 * last strong mark wins. Without one: the last "answer is" or "Answer:"; then a response that is nothing
 * but an answer; then the last formula or number. One pass over the text per kind of mark. */
#include <string.h>

#include "grpo/reward.h"
#include "reward/math_extract.h"

enum {
    MAX_FORMULA = 8192,  /* bytes of one formula */
    MAX_STATEMENT = 2048, /* of a sentence that states the answer */
    MAX_TRIES = 64,      /* phrases looked at, from the last one backwards */
    TAIL = 8192          /* of a response in which its last number is looked for */
};

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
        for (const char *q = open; q + 1 < end && q - open < MAX_FORMULA; q++)
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
        for (const char *q = open; q + 1 < end && !close && q - open < MAX_FORMULA; q++)
            close = *q == '$' && q[1] == '$' ? q : NULL;
        if (!close)
            return 0;
        *after = close + 2;
    } else if (*p == '$' && p + 1 < end) {
        open = p + 1;
        if (math_text_is_space(*open) && !(open + 1 < end && math_text_is_space(open[-1])) && open + 1 >= end)
            return 0;
        for (const char *q = open; q < end && q - open < MAX_FORMULA / 2; q++) {
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

/* Drops Markdown, quotes and colons at both ends. */
static math_slice strip_markup(math_slice s)
{
    for (;;) {
        size_t before = s.length;
        s = math_text_trim(s);
        while (s.length && strchr("*_`\"':", s.data[0]) && !(s.data[0] == '\'' && s.length == 1))
            s.data++, s.length--;
        if (s.length && s.data[s.length - 1] == '}' && !memchr(s.data, '{', s.length)) /* JSON */
            s.length--;
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
        if (*q == '<' && q + 1 < end && (q[1] == '/' || q[1] == '|')) /* a tag */
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

/* (2, 3), [0, 1), {1, 2} in prose: a bracket with a comma and nothing but mathematics inside. Returns its
 * end, p when it is none. */
static const char *bracket_end(const char *p, const char *end)
{
    size_t run = 0, commas = 0, digits = 0;
    int depth = 0;
    for (const char *q = p; q < end && q - p < 120; q++) {
        depth += *q == '(' || *q == '[' || *q == '{';
        if (depth > 3)
            return p;
        if ((*q == ')' || *q == ']' || *q == '}') && --depth == 0)
            return commas && digits && run < 5 ? q + 1 : p;
        run = math_text_is_letter(*q) ? run + 1 : 0;
        if (run > 4 || *q == '\n' || *q == '$' || *q == 0)
            return p;
        commas += *q == ',';
        digits += math_text_is_digit(*q);
    }
    return p;
}

/* The end of a relation sign and of the white space around it; p when there is none. */
static const char *relation_end(const char *p, const char *end)
{
    static const char *const signs[] = {"<=", ">=", "!=", "=", "<", ">", "\\leq ", "\\geq ", "\\le ", "\\ge ", "\\neq ", "\\ne "};
    const char *q = p;
    while (q < end && *q == ' ')
        q++;
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (starts(q, end, signs[i])) {
            q += strlen(signs[i]);
            while (q < end && *q == ' ')
                q++;
            return q;
        }
    return p;
}

/* "x = 5", "x >= 0", "1 < x < 5" in prose. Returns the end, p when it is none. */
static const char *assignment_end(const char *begin, const char *p, const char *end)
{
    const char *q = p;
    if (p > begin && (math_text_is_letter(p[-1]) || math_text_is_digit(p[-1]) || strchr("_\\^*/+-", p[-1])))
        return p;
    if (math_text_is_letter(*p)) {
        q = p + 1;
    } else {
        const char *number = number_end(p, end), *sign = relation_end(number, end);
        if (number == p || sign == number || sign >= end || !math_text_is_letter(*sign) || strchr("=!", *number) || (*number == ' ' && strchr("=!", number[1])))
            return p;
        q = sign + 1;
        if (relation_end(q, end) == q)
            return q < end && math_text_is_letter(*q) ? p : q;
    }
    const char *value = relation_end(q, end);
    if (value == q || value >= end)
        return p;
    const char *stop = number_end(value, end);
    const char *next = stop;
    while (next < end && *next == ' ')
        next++;
    return stop > value && !(next < end && (strchr("+-*/^=", *next) || (*next == '\\' && !starts(next, end, "\\%")))) ? stop : p;
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
        after = *p == '(' || *p == '[' || *p == '{' ? bracket_end(p, end) : assignment_end(begin, p, end);
        if (after > p) {
            *out = (item){slice(p, after), p, after, 0};
            return 1;
        }
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

/* What stands between two items that make one answer together: "2 or 3", "6 and 8", "1, 2, and 3". */
typedef enum link { LINK_OR = 1, LINK_AND = 2, LINK_COMMA = 4 } link;

static int connects(const char *p, const char *end, unsigned links)
{
    math_slice s = math_text_trim(slice(p, end));
    int comma = 0;
    while (s.length && (s.data[0] == ',' || s.data[0] == ';' || math_text_is_space(s.data[0]))) {
        comma |= s.data[0] != ' ';
        s.data++, s.length--;
    }
    if (!s.length)
        return comma && (links & LINK_COMMA);
    return ((links & LINK_OR) && math_text_equals(s, "or")) || ((links & LINK_AND) && math_text_equals(s, "and"));
}

static void set_pieces(math_extract *out, const item *items, int count)
{
    out->count = count;
    out->plain = 0;
    for (int i = 0; i < count; i++) {
        out->pieces[i] = items[i].text;
        out->plain |= !items[i].formula;
    }
}

static int is_approximation_sign(const char *p, const char *end)
{
    math_slice s = math_text_trim(slice(p, end));
    return math_text_equals(s, "\\approx") || math_text_equals(s, "~") || math_text_equals(s, "~=") || math_text_equals(s, "or about") ||
           math_text_equals(s, "or approximately");
}

/* The last item of a stretch of prose with those linked to it. 0 when there is none. */
static int last_item(math_slice s, unsigned links, math_extract *out)
{
    const char *end = s.data + s.length;
    item run[MATH_MAX_PIECES], current;
    int count = 0;
    for (const char *p = s.data; next_item(s.data, p, end, &current); p = current.end) {
        int lone = count && current.formula && is_lone_symbol(current.text) && !is_lone_symbol(run[count - 1].text);
        if (lone) /* "where $n$ is ..." */
            continue;
        int assignments = count && math_text_is_letter(*run[count - 1].begin) && math_text_is_letter(*current.begin);
        unsigned allowed = assignments ? LINK_OR | LINK_AND | LINK_COMMA : links;
        out->exact = count && is_approximation_sign(run[count - 1].end, current.begin) ? run[count - 1].text : (math_slice){NULL, 0};
        if (!count || count == MATH_MAX_PIECES || !connects(run[count - 1].end, current.begin, allowed))
            count = 0;
        run[count++] = current;
    }
    set_pieces(out, run, count);
    return count > 0;
}

/* The item that begins the stretch, with those linked to it. Returns where they end, NULL when it begins
 * with something else. */
static const char *first_items(math_slice s, unsigned links, math_extract *out)
{
    const char *end = s.data + s.length;
    item run[MATH_MAX_PIECES];
    int count = 0;
    if (!next_item(s.data, s.data, end, &run[0]) || run[0].begin != s.data)
        return NULL;
    for (count = 1; count < MATH_MAX_PIECES && next_item(s.data, run[count - 1].end, end, &run[count]); count++)
        if (!connects(run[count - 1].end, run[count].begin, links))
            break;
    set_pieces(out, run, count);
    return run[count - 1].end;
}

/* ---- phrases ---------------------------------------------------------------------------------- */

/* Skips Markdown and white space; at most one blank line. */
static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && (math_text_is_space(*p) || *p == '*' || *p == '_'))
        p++;
    return p;
}

/* Skips words that say nothing: "therefore", "simply", "option". */
static const char *skip_fillers(const char *p, const char *end)
{
    static const char *const fillers[] = {"therefore", "thus", "then", "simply", "just", "indeed", "now", "given by", "equal to",
                                          "exactly", "option", "choice", "letter"};
    for (size_t i = 0; i < sizeof fillers / sizeof *fillers; i++) {
        size_t n = strlen(fillers[i]);
        if (starts_ignoring_case(p, end, fillers[i]) && p + n < end && strchr(" ,:*", p[n])) {
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
        return skip_fillers(skip_blank(q + 1, end), end);
    static const char *const verbs[] = {"\xe6\x98\xaf", "\xe4\xb8\xba", "is ", "is:", "is\n", "is$", "is\\", "would be ", "will be ", "should be ", "equals ", "was ", "are ", "is**", "is *"};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (starts_ignoring_case(q, end, verbs[i])) {
            size_t n = strlen(verbs[i]);
            q += n - (verbs[i][n - 1] == '$' || verbs[i][n - 1] == '\\');
            q = skip_blank(q, end);
            if (q < end && *q == ':')
                q++;
            return skip_fillers(skip_blank(q, end), end);
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
            if (math_text_equals(slice(word, q), others[i]))
                return words ? word - 1 : p;
        words++;
    }
    return words > 4 || (q < end && !strchr(",.;:!)\n", *q) && math_text_is_letter(*q)) ? p : q;
}

/* "5 (five)", "5 (since 2+3=5)": without the remark. */
static math_slice without_remark(math_slice s)
{
    const char *open = s.length && s.data[s.length - 1] == ')' ? memchr(s.data, '(', s.length) : NULL;
    if (!open || open == s.data || open[-1] != ' ' || !math_text_is_letter(open[1]) || !math_text_is_letter(open[2]) || !math_text_is_letter(open[3]))
        return s;
    return math_text_trim(slice(s.data, open));
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
    item first;
    const unsigned links = LINK_OR | LINK_AND | LINK_COMMA;
    s = without_remark(strip_markup(s));
    const char *end = s.data + s.length;
    if (!s.length)
        return 0;
    if (!next_item(s.data, s.data, end, &first)) { /* words */
        *out = (math_extract){.pieces = {s}, .count = 1, .plain = 1, .words = 1};
        return 1;
    }
    int dollars = memchr(s.data, '$', s.length) != NULL || first.formula;
    if (!dollars && !has_words(s)) {
        *out = (math_extract){.pieces = {s}, .count = 1, .plain = 1};
        return 1;
    }
    const char *after = first_items(s, links, out);
    if (!after)
        return last_item(s, links, out);
    if (out->count == 1 && !first.formula)
        out->pieces[0] = slice(s.data, unit_tail(after, end));
    return 1;
}

/* The word at p that announces an answer: its length, 0 for others. */
static size_t announcing_word(const char *p, const char *end)
{
    static const char *const words[] = {"answers", "answer", "result", "option", "choice", "ans"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (starts_ignoring_case(p, end, words[i])) {
            size_t n = strlen(words[i]);
            return p + n < end && math_text_is_letter(p[n]) ? 0 : n;
        }
    return starts(p, end, "\xe7\xad\x94\xe6\xa1\x88") ? 6 : 0;
}

static int follows_final(const char *begin, const char *p)
{
    while (p > begin && (p[-1] == ' ' || p[-1] == '*'))
        p--;
    return p - begin >= 5 && math_text_starts(slice(p - 5, p), "final");
}

/* A statement ends with its sentence; displayed formulas span lines. */
static const char *statement_end(const char *p, const char *end)
{
    math_slice content;
    const char *after;
    if ((starts(p, end, "\\[") || starts(p, end, "$$")) && read_formula(p, end, &content, &after))
        return after;
    return sentence_end(p, end);
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
    if (final && after < f->end && (starts(after, f->end, "**\n") || *after == '\n'))
        return skip_blank(after, f->end);
    return statement_after(after, f->end);
}

/* The last "answer is"/"Answer:" (or with `final` before it). Returns its position. */
static const char *find_phrase(const finder *f, int final, math_extract *out)
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
        if (read_statement(slice(after, statement_end(after, limit)), &candidate)) {
            *out = candidate;
            return p;
        }
    }
    return NULL;
}

/* ---- tags and markers ---------------------------------------------------------------------------- */

static const char *find_last(const char *begin, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = end - n; p >= begin; p--)
        if (*p == *word && starts_ignoring_case(p, end, word))
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
    if (content.length > 60 || memchr(content.data, '\n', content.length) || count_words(content) > 2) {
        if (find_phrase(&inner, 1, &statement) || find_phrase(&inner, 0, &statement) || last_item(content, LINK_OR, &statement)) {
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
    int digits = 0;
    for (size_t i = 0; i < s.length; i++)
        digits |= math_text_is_digit(s.data[i]);
    return count_words(s) > (digits ? 2 : 5);
}

/* "Total: 5", "Option C": without the words in front. */
static math_slice without_label(math_slice s)
{
    size_t n = 0;
    while (n < s.length && (math_text_is_letter(s.data[n]) || s.data[n] == ' '))
        n++;
    const char *end = s.data + s.length, *p = skip_fillers(s.data, end);
    if (n > 2 && n + 1 < s.length && s.data[n] == ':' && n < 40 && s.data[n + 1] != '/')
        p = s.data + n + 1;
    return strip_markup(slice(p, end));
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
        body = without_remark(without_label(body));
        if (read_formula(body.data, body.data + body.length, &formula, &after) && after == body.data + body.length) {
            use_slice(out, formula, "whole");
            out->plain = 0;
            return;
        }
        const char *last = first_items(body, LINK_OR | LINK_AND | LINK_COMMA, &found);
        if (last && found.count > 1 && math_text_trim(slice(last, body.data + body.length)).length <= 1 && memchr(body.data, '$', body.length)) {
            *out = found;
            out->source = "whole";
            return;
        }
        if (!memchr(body.data, '$', body.length) && !has_prose(body)) {
            use_slice(out, body, "whole");
            return;
        }
    }
    found = (math_extract){0};
    if ((f.from & GRPO_MATH_FROM_LAST) && last_item(slice(f.end - f.begin > TAIL ? f.end - TAIL : f.begin, f.end), LINK_OR, &found)) {
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
