/* What LaTeX commands and plain words stand for. */
#include <string.h>

#include "reward/math_lexer.h"

/* What LaTeX commands stand for. Commands of Greek letters are TOK_LETTER with their own name. */
static const lexer_command commands[] = {
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
static const lexer_command words[] = {
    {"and", TOK_AND, 0}, {"or", TOK_OR, 0}, {"to", TOK_TO, 0}, {"pi", TOK_CONSTANT, MATH_PI},
    {"infinity", TOK_CONSTANT, MATH_INFINITY}, {"inf", TOK_CONSTANT, MATH_INFINITY},
    {"infty", TOK_CONSTANT, MATH_INFINITY}, {"oo", TOK_CONSTANT, MATH_INFINITY}, {"sqrt", TOK_SQRT, 0},
    {"percent", TOK_PERCENT, 0}, {"degrees", TOK_DEGREE, 1}, {"degree", TOK_DEGREE, 1}, {"deg", TOK_DEGREE, 1},
    {"equals", TOK_RELATION, MATH_EQ}, {"union", TOK_SETOP, 'u'}, {"mod", TOK_MOD, 0}, {"cbrt", TOK_SQRT, 3},
};

static const lexer_command *find_in(const lexer_command *table, size_t n, const char *name, size_t length)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].name[0] == name[0] && strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0)
            return &table[i];
    return NULL;
}

const lexer_command *lexer_find(const char *name, size_t length)
{
    return find_in(commands, sizeof commands / sizeof *commands, name, length);
}

const lexer_command *lexer_find_word(const char *lower, size_t length)
{
    return find_in(words, sizeof words / sizeof *words, lower, length);
}

int lexer_is_text_command(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof text_commands / sizeof *text_commands; i++)
        if (strlen(text_commands[i]) == length && memcmp(text_commands[i], name, length) == 0)
            return 1;
    return 0;
}
