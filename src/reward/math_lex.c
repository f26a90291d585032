/* Lexer of the math verifier. It knows LaTeX's commands, plain function names, number formats
 * (separators, scientific, repeating decimals), words and units' text; it knows nothing of structure. */
#include <stdlib.h>
#include <string.h>

#include "reward/math_lex.h"
#include "reward/math_text.h"

enum { MAX_GROUPS = 40 /* of three digits in a number */ };

typedef struct lexer {
    math_tree *tree;
    const char *at, *end, *begin;
    math_tokens *out;
    size_t capacity;
    unsigned flags;
    int depth;        /* of ( [ \{ */
    int spaced_comma; /* the text has ", ": commas without a space are then thousands separators in lists */
    int space;
    int has_rows;     /* the text has an environment: a double backslash ends a row */
    int after_script; /* the last token was _ : i and e are letters there */
} lexer;

typedef struct command {
    const char *name;
    unsigned char kind, value;
} command;

/* What LaTeX commands stand for. Commands of Greek letters are TOK_LETTER with their own name. */
static const command commands[] = {
    {"alpha", TOK_LETTER, 0}, {"beta", TOK_LETTER, 0}, {"gamma", TOK_LETTER, 0}, {"delta", TOK_LETTER, 0},
    {"epsilon", TOK_LETTER, 0}, {"varepsilon", TOK_LETTER, 1}, {"zeta", TOK_LETTER, 0}, {"eta", TOK_LETTER, 0},
    {"theta", TOK_LETTER, 0}, {"vartheta", TOK_LETTER, 1}, {"iota", TOK_LETTER, 0}, {"kappa", TOK_LETTER, 0},
    {"lambda", TOK_LETTER, 0}, {"mu", TOK_LETTER, 0}, {"nu", TOK_LETTER, 0}, {"xi", TOK_LETTER, 0},
    {"rho", TOK_LETTER, 0}, {"varrho", TOK_LETTER, 1}, {"sigma", TOK_LETTER, 0}, {"tau", TOK_LETTER, 0},
    {"upsilon", TOK_LETTER, 0}, {"phi", TOK_LETTER, 0}, {"varphi", TOK_LETTER, 1}, {"chi", TOK_LETTER, 0},
    {"psi", TOK_LETTER, 0}, {"omega", TOK_LETTER, 0}, {"Gamma", TOK_LETTER, 0}, {"Delta", TOK_LETTER, 0},
    {"Theta", TOK_LETTER, 0}, {"Lambda", TOK_LETTER, 0}, {"Xi", TOK_LETTER, 0}, {"Pi", TOK_LETTER, 0},
    {"Sigma", TOK_LETTER, 0}, {"Upsilon", TOK_LETTER, 0}, {"Phi", TOK_LETTER, 0}, {"Psi", TOK_LETTER, 0},
    {"Omega", TOK_LETTER, 0}, {"ell", TOK_LETTER, 2}, {"hbar", TOK_LETTER, 2}, {"partial", TOK_LETTER, 2},
    {"nabla", TOK_LETTER, 2}, {"imath", TOK_LETTER, 2}, {"jmath", TOK_LETTER, 2}, {"square", TOK_LETTER, 2},
    {"pi", TOK_CONSTANT, MATH_PI}, {"infty", TOK_CONSTANT, MATH_INFINITY},
    {"sin", TOK_FUNCTION, MATH_F_SIN}, {"cos", TOK_FUNCTION, MATH_F_COS}, {"tan", TOK_FUNCTION, MATH_F_TAN},
    {"tg", TOK_FUNCTION, MATH_F_TAN}, {"cot", TOK_FUNCTION, MATH_F_COT}, {"ctg", TOK_FUNCTION, MATH_F_COT},
    {"sec", TOK_FUNCTION, MATH_F_SEC}, {"csc", TOK_FUNCTION, MATH_F_CSC}, {"cosec", TOK_FUNCTION, MATH_F_CSC},
    {"arcsin", TOK_FUNCTION, MATH_F_ASIN}, {"arccos", TOK_FUNCTION, MATH_F_ACOS},
    {"arctan", TOK_FUNCTION, MATH_F_ATAN}, {"arctg", TOK_FUNCTION, MATH_F_ATAN},
    {"arccot", TOK_FUNCTION, MATH_F_ACOT}, {"arcsec", TOK_FUNCTION, MATH_F_ASEC},
    {"arccsc", TOK_FUNCTION, MATH_F_ACSC}, {"asin", TOK_FUNCTION, MATH_F_ASIN},
    {"acos", TOK_FUNCTION, MATH_F_ACOS}, {"atan", TOK_FUNCTION, MATH_F_ATAN},
    {"sinh", TOK_FUNCTION, MATH_F_SINH}, {"cosh", TOK_FUNCTION, MATH_F_COSH},
    {"tanh", TOK_FUNCTION, MATH_F_TANH}, {"coth", TOK_FUNCTION, MATH_F_COTH},
    {"ln", TOK_FUNCTION, MATH_F_LN}, {"log", TOK_FUNCTION, MATH_F_LOG}, {"lg", TOK_FUNCTION, MATH_F_LOG},
    {"exp", TOK_FUNCTION, MATH_F_EXP}, {"abs", TOK_FUNCTION, MATH_F_ABS}, {"gcd", TOK_FUNCTION, MATH_F_GCD},
    {"lcm", TOK_FUNCTION, MATH_F_LCM}, {"min", TOK_FUNCTION, MATH_F_MIN}, {"max", TOK_FUNCTION, MATH_F_MAX},
    {"Re", TOK_FUNCTION, MATH_F_RE}, {"Im", TOK_FUNCTION, MATH_F_IM}, {"arg", TOK_FUNCTION, MATH_F_ARG},
    {"det", TOK_FUNCTION, MATH_F_DET}, {"floor", TOK_FUNCTION, MATH_F_FLOOR}, {"ceil", TOK_FUNCTION, MATH_F_CEIL},
    {"sgn", TOK_FUNCTION, MATH_F_SGN},
    {"pm", TOK_PLUSMINUS, 0}, {"mp", TOK_MINUSPLUS, 0}, {"times", TOK_TIMES, 0}, {"cdot", TOK_TIMES, 0},
    {"cdotp", TOK_TIMES, 0}, {"ast", TOK_TIMES, 0}, {"bullet", TOK_TIMES, 0}, {"div", TOK_DIVIDE, 0},
    {"over", TOK_DIVIDE, 1}, {"circ", TOK_DEGREE, 0}, {"degree", TOK_DEGREE, 0}, {"prime", TOK_PRIME, 0},
    {"le", TOK_RELATION, MATH_LE}, {"leq", TOK_RELATION, MATH_LE}, {"leqslant", TOK_RELATION, MATH_LE},
    {"leqq", TOK_RELATION, MATH_LE}, {"ge", TOK_RELATION, MATH_GE}, {"geq", TOK_RELATION, MATH_GE},
    {"geqslant", TOK_RELATION, MATH_GE}, {"geqq", TOK_RELATION, MATH_GE}, {"lt", TOK_RELATION, MATH_LT},
    {"gt", TOK_RELATION, MATH_GT}, {"ne", TOK_RELATION, MATH_NE}, {"neq", TOK_RELATION, MATH_NE},
    {"approx", TOK_RELATION, MATH_APPROX}, {"simeq", TOK_RELATION, MATH_APPROX},
    {"thickapprox", TOK_RELATION, MATH_APPROX}, {"doteq", TOK_RELATION, MATH_APPROX},
    {"in", TOK_RELATION, MATH_IN}, {"notin", TOK_RELATION, MATH_NOTIN}, {"ni", TOK_RELATION, MATH_OTHER_REL},
    {"subset", TOK_RELATION, MATH_SUBSET}, {"subseteq", TOK_RELATION, MATH_SUBSET},
    {"equiv", TOK_RELATION, MATH_EQUIV}, {"sim", TOK_RELATION, MATH_OTHER_REL},
    {"cong", TOK_RELATION, MATH_OTHER_REL}, {"propto", TOK_RELATION, MATH_OTHER_REL},
    {"parallel", TOK_RELATION, MATH_OTHER_REL}, {"perp", TOK_RELATION, MATH_OTHER_REL},
    {"lbrace", TOK_OPEN, '{'}, {"rbrace", TOK_CLOSE, '}'}, {"lfloor", TOK_OPEN, 'F'}, {"rfloor", TOK_CLOSE, 'F'},
    {"lceil", TOK_OPEN, 'C'}, {"rceil", TOK_CLOSE, 'C'}, {"langle", TOK_OPEN, '<'}, {"rangle", TOK_CLOSE, '<'},
    {"lbrack", TOK_OPEN, '['}, {"rbrack", TOK_CLOSE, ']'},
    {"vert", TOK_BAR, 0}, {"lvert", TOK_BAR, 0}, {"rvert", TOK_BAR, 0}, {"mid", TOK_BAR, 1}, {"Vert", TOK_BAR, 0},
    {"lVert", TOK_BAR, 0}, {"rVert", TOK_BAR, 0},
    {"colon", TOK_COLON, 0}, {"land", TOK_AND, 0}, {"wedge", TOK_AND, 0}, {"lor", TOK_OR, 0}, {"vee", TOK_OR, 0},
    {"quad", TOK_QUAD, 0}, {"qquad", TOK_QUAD, 0},
    {"Rightarrow", TOK_ARROW, 0}, {"implies", TOK_ARROW, 0}, {"Longrightarrow", TOK_ARROW, 0},
    {"Leftrightarrow", TOK_ARROW, 0}, {"iff", TOK_ARROW, 0}, {"therefore", TOK_ARROW, 0},
    {"longrightarrow", TOK_ARROW, 0}, {"to", TOK_ARROW, 1}, {"rightarrow", TOK_ARROW, 1},
    {"pounds", TOK_MONEY, 0}, {"yen", TOK_MONEY, 0}, {"euro", TOK_MONEY, 0},
    {"frac", TOK_FRAC, 0}, {"dfrac", TOK_FRAC, 0}, {"tfrac", TOK_FRAC, 0}, {"cfrac", TOK_FRAC, 0},
    {"sqrt", TOK_SQRT, 0}, {"binom", TOK_BINOM, 0}, {"dbinom", TOK_BINOM, 0}, {"tbinom", TOK_BINOM, 0},
    {"choose", TOK_BINOM, 1},
    {"sum", TOK_BIG, MATH_SUM}, {"prod", TOK_BIG, MATH_PRODUCT}, {"int", TOK_BIG, MATH_INTEGRAL},
    {"iint", TOK_BIG, MATH_BIG_OTHER}, {"iiint", TOK_BIG, MATH_BIG_OTHER}, {"oint", TOK_BIG, MATH_BIG_OTHER},
    {"lim", TOK_BIG, MATH_LIMIT}, {"bigcup", TOK_BIG, MATH_BIG_OTHER}, {"bigcap", TOK_BIG, MATH_BIG_OTHER},
    {"cup", TOK_SETOP, 'u'}, {"cap", TOK_SETOP, 'n'}, {"setminus", TOK_SETOP, 'm'}, {"smallsetminus", TOK_SETOP, 'm'},
    {"backslash", TOK_SETOP, 'm'},
    {"emptyset", TOK_NAMED_SET, '0'}, {"varnothing", TOK_NAMED_SET, '0'}, {"R", TOK_NAMED_SET, 'R'},
    {"Z", TOK_NAMED_SET, 'Z'}, {"N", TOK_NAMED_SET, 'N'}, {"Q", TOK_NAMED_SET, 'Q'}, {"C", TOK_NAMED_SET, 'C'},
    {"overline", TOK_ACCENT, 'o'}, {"bar", TOK_ACCENT, 'o'}, {"vec", TOK_ACCENT, 0}, {"hat", TOK_ACCENT, 0},
    {"widehat", TOK_ACCENT, 0}, {"tilde", TOK_ACCENT, 0}, {"widetilde", TOK_ACCENT, 0}, {"dot", TOK_ACCENT, 'd'},
    {"ddot", TOK_ACCENT, 0}, {"overrightarrow", TOK_ACCENT, 0}, {"overleftarrow", TOK_ACCENT, 0},
    {"underline", TOK_ACCENT, 'u'}, {"overarc", TOK_ACCENT, 0}, {"wideparen", TOK_ACCENT, 0},
    {"boxed", TOK_ACCENT, 'u'}, {"fbox", TOK_ACCENT, 'u'}, {"displaystyle", TOK_END, 0}, {"ensuremath", TOK_ACCENT, 'u'},
    {"boldsymbol", TOK_ACCENT, 'u'}, {"bm", TOK_ACCENT, 'u'}, {"mathop", TOK_ACCENT, 'u'},
    {"mathbin", TOK_ACCENT, 'u'}, {"mathrel", TOK_ACCENT, 'u'}, {"substack", TOK_ACCENT, 'u'},
    {"angle", TOK_GEOMETRY, 0}, {"measuredangle", TOK_GEOMETRY, 0}, {"triangle", TOK_GEOMETRY, 0},
    {"odot", TOK_GEOMETRY, 0}, {"ldots", TOK_DOTS, 0}, {"cdots", TOK_DOTS, 0}, {"dots", TOK_DOTS, 0},
    {"dotsc", TOK_DOTS, 0}, {"dotsb", TOK_DOTS, 0}, {"vdots", TOK_DOTS, 0}, {"ddots", TOK_DOTS, 0},
    {"bmod", TOK_MOD, 0}, {"mod", TOK_MOD, 0}, {"pmod", TOK_MOD, 1}, {"complement", TOK_COMPLEMENT, 0},
    {"qed", TOK_END, 0}, {"textstyle", TOK_END, 0}, {"scriptstyle", TOK_END, 0}, {"limits", TOK_END, 0},
    {"nolimits", TOK_END, 0}, {"left", TOK_END, 1}, {"right", TOK_END, 1}, {"middle", TOK_END, 1},
    {"tiny", TOK_END, 0}, {"small", TOK_END, 0}, {"normalsize", TOK_END, 0}, {"large", TOK_END, 0}, {"Large", TOK_END, 0},
    {"LARGE", TOK_END, 0}, {"huge", TOK_END, 0}, {"Huge", TOK_END, 0}, {"textcolor", TOK_END, 2},
    {"big", TOK_END, 0}, {"Big", TOK_END, 0}, {"bigg", TOK_END, 0}, {"Bigg", TOK_END, 0}, {"bigl", TOK_END, 0},
    {"bigr", TOK_END, 0}, {"Bigl", TOK_END, 0}, {"Bigr", TOK_END, 0}, {"biggl", TOK_END, 0},
    {"biggr", TOK_END, 0}, {"Biggl", TOK_END, 0}, {"Biggr", TOK_END, 0}, {"bigm", TOK_END, 0},
    {"rm", TOK_END, 0}, {"bf", TOK_END, 0}, {"it", TOK_END, 0}, {"cal", TOK_END, 0}, {"hfill", TOK_END, 0},
    {"hline", TOK_END, 0}, {"nonumber", TOK_END, 0}, {"notag", TOK_END, 0}, {"centering", TOK_END, 0},
    {"newline", TOK_ROW, 0}, {"cr", TOK_ROW, 0}, {"noindent", TOK_END, 0}, {"thinspace", TOK_END, 0},
    {"space", TOK_END, 0}, {"hspace", TOK_END, 2}, {"vspace", TOK_END, 2}, {"phantom", TOK_END, 2},
    {"label", TOK_END, 2}, {"tag", TOK_END, 2}, {"color", TOK_END, 2}, {"forall", TOK_GEOMETRY, 1},
    {"exists", TOK_GEOMETRY, 1}, {"neg", TOK_GEOMETRY, 1},
};

/* Commands whose argument is text. */
static const char *const text_commands[] = {"text", "mbox", "hbox", "mathrm", "textbf", "textit", "textrm",
                                            "operatorname", "mathbf", "mathit", "mathsf", "mathtt", "texttt",
                                            "textsf", "textnormal", "mathbb", "mathcal", "mathscr", "mathfrak", "emph", "bold"};

/* Plain words with a meaning, lower-case. */
static const command words[] = {
    {"and", TOK_AND, 0}, {"or", TOK_OR, 0}, {"to", TOK_TO, 0}, {"pi", TOK_CONSTANT, MATH_PI},
    {"infinity", TOK_CONSTANT, MATH_INFINITY}, {"inf", TOK_CONSTANT, MATH_INFINITY},
    {"infty", TOK_CONSTANT, MATH_INFINITY}, {"oo", TOK_CONSTANT, MATH_INFINITY}, {"sqrt", TOK_SQRT, 0},
    {"percent", TOK_PERCENT, 0}, {"degrees", TOK_DEGREE, 1}, {"degree", TOK_DEGREE, 1}, {"deg", TOK_DEGREE, 1},
    {"equals", TOK_RELATION, MATH_EQ}, {"union", TOK_SETOP, 'u'}, {"mod", TOK_MOD, 0}, {"cbrt", TOK_SQRT, 3},
};

static int add_token(lexer *lx, math_token_kind kind, int value, const char *text, size_t length)
{
    if (lx->out->count >= MATH_MAX_NODES) {
        lx->tree->problem = "the answer has too many parts";
        return -1;
    }
    if (lx->out->count == lx->capacity) {
        size_t capacity = lx->capacity ? lx->capacity * 4 : 64;
        math_token *items = math_tree_alloc(lx->tree, capacity * sizeof *items);
        if (!items)
            return -1;
        if (lx->out->count)
            memcpy(items, lx->out->items, lx->out->count * sizeof *items);
        lx->out->items = items;
        lx->capacity = capacity;
    }
    math_token *t = &lx->out->items[lx->out->count++];
    memset(t, 0, sizeof *t);
    t->kind = (unsigned char)kind;
    t->value = (unsigned char)value;
    t->space = (unsigned char)lx->space;
    t->text = text;
    t->length = (unsigned)length;
    lx->space = 0;
    return 0;
}

static const math_token *last_token(const lexer *lx)
{
    return lx->out->count ? &lx->out->items[lx->out->count - 1] : NULL;
}

static const command *find_command(const command *table, size_t n, const char *name, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].name[0] == name[0] && strncmp(table[i].name, name, length) == 0 && !table[i].name[length])
            return &table[i];
    return NULL;
}

static int is_text_command(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof text_commands / sizeof *text_commands; i++)
        if (strlen(text_commands[i]) == length && memcmp(text_commands[i], name, length) == 0)
            return 1;
    return 0;
}

/* ---- numbers ----------------------------------------------------------------------- */

/* Length of a thousands separator at p that stands between digits, 0 if there is none. */
static size_t group_separator(const lexer *lx, const char *p, int *comma)
{
    static const char *const forms[] = {"{,}", "{, }", " {,}", " {, }", ",\\!", ",\\,", "\\,", "\\ ", "\\;", "\\:", "~", "{\\,}", " ", ","};
    size_t left = (size_t)(lx->end - p);
    *comma = 0;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = strlen(forms[i]);
        if (left > n && memcmp(p, forms[i], n) == 0 && math_text_is_digit(p[n])) {
            *comma = n == 1 && *p == ',';
            return n;
        }
    }
    return 0;
}

static size_t digit_run(const lexer *lx, const char *p)
{
    size_t n = 0;
    while (p + n < lx->end && math_text_is_digit(p[n]))
        n++;
    return n;
}

/* End of the integer part that starts at p, its groups included, when the grouping is well-formed
 * (one to three digits, then threes, one separator throughout); else the end of the first digits. */
static const char *integer_end(lexer *lx, const char *p)
{
    size_t first = digit_run(lx, p);
    const char *at = p + first, *separator = at;
    int comma, any_comma = 0, groups = 0;
    size_t n = group_separator(lx, at, &comma), kind = n;
    if (!n || first > 3 || p[0] == '0')
        return p + first;
    if (comma && ((lx->flags & MATH_LEX_LISTS) || (lx->depth > 0 && !lx->spaced_comma)))
        return p + first;
    while (n) {
        if (n != kind || memcmp(at, separator, n) != 0 || groups == MAX_GROUPS)
            return comma ? p + first : at;
        size_t digits = digit_run(lx, at + n);
        if (digits != 3)
            return *separator == ' ' && groups ? at : p + first;
        any_comma |= comma;
        at += n + digits;
        groups++;
        n = group_separator(lx, at, &comma);
    }
    if (any_comma)
        lx->out->grouped = 1;
    return at;
}

/* Copies the digits and the point of [p, end) without separators. */
static const char *copy_digits(lexer *lx, const char *p, const char *end, size_t *length)
{
    char *copy = math_tree_alloc(lx->tree, (size_t)(end - p) + 1);
    if (!copy)
        return NULL;
    size_t n = 0;
    for (; p < end; p++)
        if (math_text_is_digit(*p) || *p == '.')
            copy[n++] = *p;
    *length = n;
    return copy;
}

/* The exponent of 1.2e3 at p (at the letter); 0 when there is none. *end is moved behind it. */
static long read_exponent(lexer *lx, const char *p, const char **end)
{
    if (p >= lx->end || (*p != 'e' && *p != 'E'))
        return 0;
    const char *digits = p + 1;
    int negative = digits < lx->end && *digits == '-';
    if (digits < lx->end && (*digits == '-' || *digits == '+'))
        digits++;
    size_t n = digit_run(lx, digits);
    if (n == 0 || n > 15)
        return 0;
    long value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (digits[i] - '0');
    *end = digits + n;
    return negative ? -value : value;
}

/* \overline{3} or \bar{3} or \dot{3} or (3) after the point: repeating digits. Returns their number. */
static size_t read_repeating(lexer *lx, const char *p, const char **digits, const char **end)
{
    static const char *const forms[] = {"\\overline{", "\\bar{", "\\dot{", "\\overline ", "\\bar ", "\\dot ", "("};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        size_t n = strlen(forms[i]);
        if ((size_t)(lx->end - p) <= n || memcmp(p, forms[i], n) != 0)
            continue;
        size_t run = digit_run(lx, p + n);
        char close = forms[i][n - 1] == '{' ? '}' : forms[i][n - 1] == '(' ? ')' : 0;
        if (!close && run > 1)
            run = 1;
        if (run == 0 || run > 1000 || (close && (p + n + run >= lx->end || p[n + run] != close)))
            continue;
        *digits = p + n;
        *end = p + n + run + (close != 0);
        return run;
    }
    return 0;
}

/* The decimal comma of "1{,}5": braces round a comma that separates no thousands. */
static const char *decimal_comma(const lexer *lx, const char *p)
{
    if (lx->end - p > 3 && memcmp(p, "{,}", 3) == 0 && math_text_is_digit(p[3]))
        return p + 3;
    return NULL;
}

static int lex_number(lexer *lx)
{
    const char *p = lx->at, *end = integer_end(lx, p);
    size_t length, repeating = 0;
    unsigned flags = 0;
    const char *text = copy_digits(lx, p, end, &length);
    if (!text)
        return -1;
    const char *fraction = end < lx->end && *end == '.' ? end + 1 : decimal_comma(lx, end);
    if (fraction && fraction < lx->end) {
        const char *repeat = NULL, *fraction_end = fraction + digit_run(lx, fraction), *after = fraction_end;
        repeating = read_repeating(lx, fraction_end, &repeat, &after);
        if (fraction_end > fraction || repeating) {
            size_t plain = (size_t)(fraction_end - fraction);
            char *joined = math_tree_alloc(lx->tree, length + plain + repeating + 2);
            if (!joined)
                return -1;
            memcpy(joined, text, length);
            joined[length] = '.';
            memcpy(joined + length + 1, fraction, plain);
            if (repeating)
                memcpy(joined + length + 1 + plain, repeat, repeating);
            text = joined;
            length += 1 + plain + repeating;
            flags = MATH_DECIMAL | (repeating ? MATH_REPEATING : 0);
            end = after;
        }
    }
    const char *before = end;
    long exponent = read_exponent(lx, end, &end);
    if (end != before)
        flags |= MATH_SCIENTIFIC;
    if (length > MATH_MAX_DIGITS) {
        lx->tree->problem = "a number has too many digits";
        return -1;
    }
    if (add_token(lx, TOK_NUMBER, 0, text, length) != 0)
        return -1;
    math_token *t = &lx->out->items[lx->out->count - 1];
    t->flags = (unsigned char)flags;
    t->repeating = (unsigned short)repeating;
    t->exponent = exponent;
    lx->at = end;
    return 0;
}

/* ---- words and text ---------------------------------------------------------------- */

/* End of the group that opens at p ('{'), or NULL when it never closes. */
static const char *group_end(const lexer *lx, const char *p)
{
    int depth = 0;
    for (; p < lx->end; p++) {
        if (*p == '\\' && p + 1 < lx->end)
            p++;
        else if (*p == '{')
            depth++;
        else if (*p == '}' && --depth == 0)
            return p;
    }
    return NULL;
}

static int lex_letter(lexer *lx, const char *p)
{
    if (!lx->after_script && *p == 'i')
        return add_token(lx, TOK_CONSTANT, MATH_I, p, 1);
    if (!lx->after_script && *p == 'e')
        return add_token(lx, TOK_CONSTANT, MATH_E, p, 1);
    return add_token(lx, TOK_LETTER, 0, p, 1);
}

/* A function name run together with its argument's letter: sinx, lnx. Returns the name's length. */
static size_t glued_function(const char *p, size_t n)
{
    for (size_t k = n - 1; k >= 2 && k + 1 >= n; k--) {
        const command *c = find_command(commands, sizeof commands / sizeof *commands, p, k);
        if (c && c->kind == TOK_FUNCTION)
            return k;
    }
    return 0;
}

/* min and sec are units unless an argument follows. */
static int is_unit_here(const lexer *lx, int function)
{
    const char *p = lx->at;
    while (p < lx->end && math_text_is_space(*p))
        p++;
    if (function == MATH_F_MIN)
        return p >= lx->end || !strchr("({[_\\", *p);
    return function == MATH_F_SEC && (p >= lx->end || !(math_text_is_letter(*p) || strchr("({\\^", *p)));
}

/* USD 5, Rs 200 */
static int is_currency_before_number(const lexer *lx, const char *p, size_t n)
{
    static const char *const names[] = {"USD", "EUR", "GBP", "CNY", "RMB", "INR", "CAD", "AUD", "JPY", "Rs"};
    const char *next = p + n;
    while (next < lx->end && (math_text_is_space(*next) || *next == '.'))
        next++;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && memcmp(names[i], p, n) == 0)
            return next < lx->end && math_text_is_digit(*next);
    return 0;
}

/* "6 x 7" in prose is a product. */
static int is_times_letter(const lexer *lx, char c)
{
    const math_token *last = last_token(lx);
    if ((c != 'x' && c != 'X') || !(lx->flags & MATH_LEX_PLAIN) || !lx->space || !last || last->kind != TOK_NUMBER)
        return 0;
    return lx->end - lx->at > 1 && *lx->at == ' ' && (math_text_is_digit(lx->at[1]) || lx->at[1] == '$');
}

static int lex_word(lexer *lx)
{
    char lower[16];
    const char *p = lx->at;
    size_t n = 0;
    while (p + n < lx->end && math_text_is_letter(p[n]))
        n++;
    lx->at += n;
    if (n == 1)
        return is_times_letter(lx, *p) ? add_token(lx, TOK_TIMES, 0, p, 1) : lex_letter(lx, p);
    if (is_currency_before_number(lx, p, n))
        return add_token(lx, TOK_MONEY, 0, p, n);
    if (n >= sizeof lower)
        return add_token(lx, TOK_WORD, 0, p, n);
    for (size_t i = 0; i < n; i++)
        lower[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + 32) : p[i];
    lower[n] = 0;
    const command *c = find_command(words, sizeof words / sizeof *words, lower, n);
    if (c)
        return add_token(lx, (math_token_kind)c->kind, c->value, p, n);
    c = find_command(commands, sizeof commands / sizeof *commands, p, n);
    if (c && c->kind == TOK_LETTER && c->value == 0)
        return add_token(lx, TOK_LETTER, 0, c->name, n);
    if (c && c->kind == TOK_FUNCTION && !is_unit_here(lx, c->value))
        return add_token(lx, TOK_FUNCTION, c->value, p, n);
    size_t k = glued_function(p, n);
    if (!k)
        return add_token(lx, TOK_WORD, 0, p, n);
    lx->at = p + k;
    c = find_command(commands, sizeof commands / sizeof *commands, p, k);
    return add_token(lx, TOK_FUNCTION, c->value, p, k);
}

static int named_set(math_slice t)
{
    return t.length == 1 && strchr("RZNQC", t.data[0]) ? t.data[0] : 0;
}

/* What \text{...} or \mathrm{...} means. `command` is the name of the command. */
static int lex_text(lexer *lx, math_slice name, math_slice content)
{
    math_slice t = math_text_trim(content);
    while (t.length && (t.data[0] == '~' || (t.length > 1 && t.data[0] == '\\' && strchr(",;:! ", t.data[1])))) {
        size_t n = t.data[0] == '~' ? 1 : 2;
        t = math_text_trim((math_slice){t.data + n, t.length - n});
    }
    int blackboard = math_text_equals(name, "mathbb"), symbol = name.length >= 4 && memcmp(name.data, "math", 4) == 0;
    if ((blackboard || math_text_equals(name, "mathbf")) && named_set(t) && (blackboard || t.data[0] != 'C'))
        return add_token(lx, TOK_NAMED_SET, t.data[0], t.data, 1);
    if (t.length == 1 && math_text_is_letter(t.data[0]) && symbol && !math_text_equals(name, "mathbf"))
        return *t.data == 'i' || *t.data == 'e' ? lex_letter(lx, t.data)
                                                : add_token(lx, TOK_TEXT, 1, t.data, 1);
    if (t.length && t.length < 16) {
        const command *c = find_command(commands, sizeof commands / sizeof *commands, t.data, t.length);
        if (c && c->kind == TOK_FUNCTION && !is_unit_here(lx, c->value))
            return add_token(lx, TOK_FUNCTION, c->value, t.data, t.length);
    }
    static const struct {
        const char *word;
        unsigned char kind;
    } joins[] = {{"and", TOK_AND}, {"or", TOK_OR}, {"to", TOK_TO}, {",", TOK_COMMA}, {";", TOK_SEMICOLON},
                 {"percent", TOK_PERCENT}, {"degrees", TOK_DEGREE}, {"degree", TOK_DEGREE}, {"%", TOK_PERCENT},
                 {"\\%", TOK_PERCENT}, {", and", TOK_AND}, {",and", TOK_AND}, {", or", TOK_OR}};
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
        if (math_text_equals(t, joins[i].word))
            return add_token(lx, (math_token_kind)joins[i].kind, 1, t.data, t.length);
    return t.length ? add_token(lx, TOK_TEXT, symbol, t.data, t.length) : 0;
}

/* ---- commands ---------------------------------------------------------------------- */

static int lex_environment(lexer *lx, math_token_kind kind)
{
    const char *close = lx->at < lx->end && *lx->at == '{' ? group_end(lx, lx->at) : NULL;
    if (!close)
        return add_token(lx, TOK_BAD, 0, lx->at, 0);
    math_slice name = {lx->at + 1, (size_t)(close - lx->at) - 1};
    if (name.length && name.data[name.length - 1] == '*')
        name.length--;
    lx->at = close + 1;
    return add_token(lx, kind, 0, name.data, name.length);
}

/* Mathematics inside \text{...$x$...}, \textbf{12}, \mathbf{x^2} or \mathrm{km^2} is no text. */
static int is_plain_text(math_slice name, math_slice content)
{
    for (size_t i = 0; i < content.length; i++)
        if (content.data[i] == '$' || math_text_is_digit(content.data[i]) ||
            (name.data[0] == 'm' && strchr("_=+<>{^", content.data[i])))
            return 0;
    return 1;
}

static int lex_text_command(lexer *lx, math_slice name)
{
    while (lx->at < lx->end && math_text_is_space(*lx->at))
        lx->at++;
    if (lx->at < lx->end && *lx->at == '*') /* \operatorname* */
        lx->at++;
    if (lx->at >= lx->end)
        return 0;
    if (*lx->at != '{') { /* \mathbb R: one character */
        math_slice one = {lx->at++, 1};
        return lex_text(lx, name, one);
    }
    const char *close = group_end(lx, lx->at);
    if (!close)
        return add_token(lx, TOK_BAD, 0, lx->at, 0) == 0 ? (lx->at = lx->end, 0) : -1;
    math_slice content = {lx->at + 1, (size_t)(close - lx->at) - 1};
    if (!is_plain_text(name, content)) { /* its tokens stand in a group */
        lx->at++;
        return add_token(lx, TOK_LBRACE, 0, content.data, 1);
    }
    lx->at = close + 1;
    return lex_text(lx, name, content);
}

static void skip_group(lexer *lx)
{
    if (lx->at < lx->end && *lx->at == '*')
        lx->at++;
    const char *close = lx->at < lx->end && *lx->at == '{' ? group_end(lx, lx->at) : NULL;
    if (close)
        lx->at = close + 1;
}

static int lex_named_command(lexer *lx)
{
    const char *p = lx->at;
    size_t n = 0;
    while (p + n < lx->end && math_text_is_letter(p[n]))
        n++;
    lx->at += n;
    math_slice name = {p, n};
    if (is_text_command(p, n))
        return lex_text_command(lx, name);
    if (math_text_equals(name, "begin"))
        return lex_environment(lx, TOK_BEGIN);
    if (n == 3 && memcmp(p, "end", 3) == 0)
        return lex_environment(lx, TOK_FINISH);
    if (n == 3 && memcmp(p, "not", 3) == 0) { /* \not= , \not\in */
        while (lx->at < lx->end && math_text_is_space(*lx->at))
            lx->at++;
        if (lx->at < lx->end && *lx->at == '=')
            return lx->at++, add_token(lx, TOK_RELATION, MATH_NE, p, n);
        if (lx->end - lx->at >= 3 && memcmp(lx->at, "\\in", 3) == 0)
            return lx->at += 3, add_token(lx, TOK_RELATION, MATH_NOTIN, p, n);
        return add_token(lx, TOK_BAD, 0, p, n);
    }
    const command *c = find_command(commands, sizeof commands / sizeof *commands, p, n);
    for (size_t k = n; !c && k-- > 2;) /* \quadx, \cdotx: a command run together with a letter */
        if ((c = find_command(commands, sizeof commands / sizeof *commands, p, k)) != NULL)
            lx->at = p + (n = k);
    if (!c)
        return add_token(lx, TOK_BAD, 0, p, n);
    if (c->kind == TOK_END) {
        if (c->value == 1) {
            while (lx->at < lx->end && math_text_is_space(*lx->at))
                lx->at++;
            if (lx->at < lx->end && *lx->at == '.') /* \left. */
                lx->at++;
        } else if (c->value == 2) {
            skip_group(lx);
        }
        return 0;
    }
    if (c->kind == TOK_OPEN)
        lx->depth++;
    if (c->kind == TOK_CLOSE && lx->depth)
        lx->depth--;
    /* variants of a letter (\varphi) are the letter */
    size_t skip = c->kind == TOK_LETTER && c->value == 1 ? 3 : 0;
    return add_token(lx, (math_token_kind)c->kind, c->value, c->name + skip, strlen(c->name) - skip);
}

/* After a backslash at lx->at - 1. */
static int lex_backslash(lexer *lx)
{
    if (lx->at >= lx->end)
        return 0;
    char c = *lx->at;
    if (math_text_is_letter(c))
        return lex_named_command(lx);
    if (c == '\\') {
        /* an over-escaped command (\\frac) or a row break */
        const char *p = lx->at + 1;
        size_t n = 0;
        while (p + n < lx->end && math_text_is_letter(p[n]))
            n++;
        lx->at++;
        if (n >= 2 && (is_text_command(p, n) || find_command(commands, sizeof commands / sizeof *commands, p, n) ||
                       (n == 5 && memcmp(p, "begin", 5) == 0) || (n == 3 && memcmp(p, "end", 3) == 0)))
            return lex_named_command(lx);
        if (p < lx->end && strchr("{}%$", *p) && !lx->has_rows)
            return lex_backslash(lx);
        if (p < lx->end && *p == '[') { /* \\[2pt] */
            const char *close = memchr(p, ']', (size_t)(lx->end - p) < 12 ? (size_t)(lx->end - p) : 12);
            if (close && close - p > 2 && math_text_is_letter(close[-1]))
                lx->at = close + 1;
        }
        return add_token(lx, TOK_ROW, 0, p, 0);
    }
    lx->at++;
    switch (c) {
    case '{': lx->depth++; return add_token(lx, TOK_OPEN, '{', lx->at - 1, 1);
    case '}': lx->depth -= lx->depth > 0; return add_token(lx, TOK_CLOSE, '}', lx->at - 1, 1);
    case '%': return add_token(lx, TOK_PERCENT, 0, lx->at - 1, 1);
    case '$': return add_token(lx, TOK_MONEY, 0, lx->at - 1, 1);
    case '|': return add_token(lx, TOK_BAR, 0, lx->at - 1, 1);
    case ',': case ';': case ':': case '!': case ' ': case '>': case '\n': case '\t':
        lx->space |= c != '!';
        return 0;
    case '(': case ')': case '[': case ']': return 0; /* stray math delimiters */
    case '&': case '#': case '_': return add_token(lx, TOK_BAD, 0, lx->at - 1, 1);
    default: return 0;
    }
}

/* ---- single characters ------------------------------------------------------------- */

static int lex_relation(lexer *lx)
{
    char c = *lx->at++, next = lx->at < lx->end ? *lx->at : 0;
    const char *p = lx->at - 1;
    if (c == '=' && (next == '<' || next == '>'))
        return lx->at++, next == '<' ? add_token(lx, TOK_RELATION, MATH_LE, p, 2) : add_token(lx, TOK_ARROW, 0, p, 2);
    if (next == '=' || (c == '<' && next == '>')) {
        lx->at++;
        math_relation r = c == '<' ? (next == '=' ? MATH_LE : MATH_NE) : c == '>' ? MATH_GE : MATH_EQ;
        return add_token(lx, TOK_RELATION, r, p, 2);
    }
    return add_token(lx, TOK_RELATION, c == '<' ? MATH_LT : c == '>' ? MATH_GT : MATH_EQ, p, 1);
}

static int lex_minus(lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '>')
        return lx->at++, add_token(lx, TOK_ARROW, 1, p, 2);
    return add_token(lx, TOK_MINUS, 0, p, 1);
}

static int lex_bang(lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '=')
        return lx->at++, add_token(lx, TOK_RELATION, MATH_NE, p, 2);
    if (lx->at < lx->end && *lx->at == '!')
        return lx->at++, add_token(lx, TOK_BANG, 2, p, 2);
    return add_token(lx, TOK_BANG, 1, p, 1);
}

static int lex_dot(lexer *lx)
{
    const char *p = lx->at;
    if (p + 1 < lx->end && math_text_is_digit(p[1]))
        return lex_number(lx);
    if (lx->end - p >= 3 && memcmp(p, "...", 3) == 0)
        return lx->at += 3, add_token(lx, TOK_DOTS, 0, p, 3);
    if (p + 1 < lx->end && p[1] == '\\') { /* .\overline{3} */
        const char *digits, *end;
        if (read_repeating(lx, p + 1, &digits, &end))
            return lex_number(lx);
    }
    return lx->at++, add_token(lx, TOK_DOT, 0, p, 1);
}

static int lex_brace(lexer *lx)
{
    const char *p = lx->at;
    if (lx->end - p >= 3 && p[2] == '}' && strchr(",:", p[1])) {
        lx->at += 3;
        return add_token(lx, p[1] == ',' ? TOK_COMMA : TOK_COLON, 0, p + 1, 1);
    }
    lx->at++;
    return add_token(lx, *p == '{' ? TOK_LBRACE : TOK_RBRACE, 0, p, 1);
}

static int lex_dollar(lexer *lx)
{
    const char *p = lx->at++;
    const math_token *last = last_token(lx);
    int number = lx->at < lx->end && (math_text_is_digit(*lx->at) || *lx->at == '.' ||
                                      (*lx->at == '-' && lx->at + 1 < lx->end && math_text_is_digit(lx->at[1])));
    if (number && !(last && (last->kind == TOK_NUMBER || last->kind == TOK_LETTER)))
        return add_token(lx, TOK_MONEY, 0, p, 1);
    lx->space = 1; /* a stray math delimiter */
    return 0;
}

static int lex_star(lexer *lx)
{
    const char *p = lx->at++;
    if (lx->at < lx->end && *lx->at == '*')
        return lx->at++, add_token(lx, TOK_CARET, 0, p, 2);
    return add_token(lx, TOK_TIMES, 0, p, 1);
}

/* Letters of other scripts: a word. */
static int lex_foreign(lexer *lx)
{
    const char *p = lx->at;
    while (lx->at < lx->end && ((unsigned char)*lx->at >= 0x80 || math_text_is_letter(*lx->at)))
        lx->at++;
    return add_token(lx, TOK_WORD, 1, p, (size_t)(lx->at - p));
}

static int lex_one(lexer *lx)
{
    char c = *lx->at;
    const char *p = lx->at;
    if (math_text_is_digit(c))
        return lex_number(lx);
    if (math_text_is_letter(c))
        return lex_word(lx);
    if ((unsigned char)c >= 0x80)
        return lex_foreign(lx);
    switch (c) {
    case '.': return lex_dot(lx);
    case '\\': return lx->at++, lex_backslash(lx);
    case '{': case '}': return lex_brace(lx);
    case '$': return lex_dollar(lx);
    case '<': case '>': case '=': return lex_relation(lx);
    case '-': return lex_minus(lx);
    case '!': return lex_bang(lx);
    case '*': return lex_star(lx);
    default: break;
    }
    lx->at++;
    switch (c) {
    case '+':
        if (lx->at < lx->end && *lx->at == '/' && lx->end - lx->at > 1 && lx->at[1] == '-')
            return lx->at += 2, add_token(lx, TOK_PLUSMINUS, 0, p, 3);
        return add_token(lx, TOK_PLUS, 0, p, 1);
    case '/': return add_token(lx, TOK_DIVIDE, 0, p, 1);
    case '^': return add_token(lx, TOK_CARET, 0, p, 1);
    case '_': return add_token(lx, TOK_UNDERSCORE, 0, p, 1);
    case '%': return add_token(lx, TOK_PERCENT, 0, p, 1);
    case '\'': return add_token(lx, TOK_PRIME, 0, p, 1);
    case '(': case '[': lx->depth++; return add_token(lx, TOK_OPEN, c, p, 1);
    case ')': case ']': lx->depth -= lx->depth > 0; return add_token(lx, TOK_CLOSE, c, p, 1);
    case '|': return add_token(lx, TOK_BAR, 0, p, 1);
    case ',': return add_token(lx, TOK_COMMA, 0, p, 1);
    case ';': return add_token(lx, TOK_SEMICOLON, 0, p, 1);
    case ':': return add_token(lx, TOK_COLON, 0, p, 1);
    case '&': return add_token(lx, TOK_AMPERSAND, 0, p, 1);
    case '"': case '`': case '~': lx->space = 1; return 0;
    case '?': return add_token(lx, TOK_DOT, 0, p, 1);
    default: return add_token(lx, TOK_BAD, 0, p, 1);
    }
}

int math_lex(math_tree *tree, math_tokens *out, const char *text, size_t length, unsigned flags)
{
    memset(out, 0, sizeof *out);
    if (length > MATH_MAX_INPUT) {
        tree->problem = "the answer is too long";
        return -1;
    }
    lexer lx = {.tree = tree, .at = text, .begin = text, .end = text + length, .out = out, .flags = flags};
    for (size_t i = 0; i + 1 < length && !lx.spaced_comma; i++)
        lx.spaced_comma = (text[i] == ',' && text[i + 1] == ' ') || text[i] == ';';
    for (const char *p = text; !lx.has_rows && (p = memchr(p, '\\', (size_t)(lx.end - p))) != NULL; p++)
        lx.has_rows = lx.end - p > 6 && memcmp(p, "\\begin", 6) == 0;
    while (lx.at < lx.end) {
        if (math_text_is_space(*lx.at)) {
            lx.space = 1;
            lx.at++;
            continue;
        }
        if (lex_one(&lx) != 0)
            return -1;
        const math_token *last = last_token(&lx);
        lx.after_script = last && last->kind == TOK_UNDERSCORE;
    }
    return add_token(&lx, TOK_END, 0, lx.end, 0);
}
