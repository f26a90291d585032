/* Finds the pieces of mathematics in prose: formulas, numbers, brackets, assignments. */
#include <string.h>

#include "reward/math_find.h"

/* ---- pieces of prose ------------------------------------------------------------------------ */

/* Words in a text, LaTeX commands not counted. */
int find_count_words(math_slice s)
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
math_slice find_strip_markup(math_slice s)
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
const char *find_sentence_end(const char *p, const char *end)
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
        else if (q > digits && find_starts(q, end, "{,}") && q + 3 < end && math_text_is_digit(q[3]))
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
    else if (find_starts(q, end, "\\%"))
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
        if (find_starts(q, end, signs[i])) {
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
    return stop > value && !(next < end && (strchr("+-*/^=", *next) || (*next == '\\' && !find_starts(next, end, "\\%")))) ? stop : p;
}

static int is_lone_symbol(math_slice s)
{
    s = math_text_trim(s);
    return s.length == 1 && math_text_is_letter(s.data[0]);
}

/* The next formula or number from p on. */
int find_next_item(const char *begin, const char *p, const char *end, find_item *out)
{
    for (; p < end; p++) {
        math_slice content;
        const char *after;
        if ((*p == '$' || *p == '\\') && find_formula(p, end, &content, &after)) {
            *out = (find_item){content, p, after, 1};
            return 1;
        }
        if (*p == '\\' && p + 1 < end && p[1] == '$') /* \$5 */
            continue;
        after = *p == '(' || *p == '[' || *p == '{' ? bracket_end(p, end) : assignment_end(begin, p, end);
        if (after > p) {
            *out = (find_item){math_slice_between(p, after), p, after, 0};
            return 1;
        }
        if (begins_number(begin, p, end)) {
            after = number_end(p, end);
            if (after > p) {
                *out = (find_item){math_slice_between(p, after), p, after, 0};
                return 1;
            }
        }
    }
    return 0;
}

static int connects(const char *p, const char *end, unsigned links)
{
    math_slice s = math_text_trim(math_slice_between(p, end));
    int comma = 0;
    while (s.length && (s.data[0] == ',' || s.data[0] == ';' || math_text_is_space(s.data[0]))) {
        comma |= s.data[0] != ' ';
        s.data++, s.length--;
    }
    if (!s.length)
        return comma && (links & LINK_COMMA);
    return ((links & LINK_OR) && math_text_equals(s, "or")) || ((links & LINK_AND) && math_text_equals(s, "and"));
}

static void set_pieces(math_extract *out, const find_item *items, int count)
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
    math_slice s = math_text_trim(math_slice_between(p, end));
    return math_text_equals(s, "\\approx") || math_text_equals(s, "~") || math_text_equals(s, "~=") || math_text_equals(s, "or about") ||
           math_text_equals(s, "or approximately");
}

/* The last find_item of a stretch of prose with those linked to it. 0 when there is none. */
int find_last_items(math_slice s, unsigned links, math_extract *out)
{
    const char *end = s.data + s.length;
    find_item run[MATH_MAX_PIECES], current;
    int count = 0;
    for (const char *p = s.data; find_next_item(s.data, p, end, &current); p = current.end) {
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

/* The find_item that begins the stretch, with those linked to it. Returns where they end, NULL when it begins
 * with something else. */
const char *find_first_items(math_slice s, unsigned links, math_extract *out)
{
    const char *end = s.data + s.length;
    find_item run[MATH_MAX_PIECES];
    int count = 0;
    if (!find_next_item(s.data, s.data, end, &run[0]) || run[0].begin != s.data)
        return NULL;
    for (count = 1; count < MATH_MAX_PIECES && find_next_item(s.data, run[count - 1].end, end, &run[count]); count++)
        if (!connects(run[count - 1].end, run[count].begin, links))
            break;
    set_pieces(out, run, count);
    return run[count - 1].end;
}
