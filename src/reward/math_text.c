/* Unicode mathematics to ASCII and LaTeX. What has no meaning in an answer becomes byte 1, which the
 * lexer refuses, so that an invisible character never joins two digits. */
#include <string.h>

#include "base/strbuf.h"
#include "reward/math_text.h"

int math_text_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

int math_text_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int math_text_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

math_slice math_text_trim(math_slice t)
{
    while (t.length && math_text_is_space(t.data[0]))
        t.data++, t.length--;
    while (t.length && math_text_is_space(t.data[t.length - 1]))
        t.length--;
    return t;
}

static char lower_case(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

int math_text_starts(math_slice t, const char *lower)
{
    size_t n = strlen(lower);
    if (t.length < n)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (lower_case(t.data[i]) != lower[i])
            return 0;
    return 1;
}

int math_text_equals(math_slice t, const char *lower)
{
    return t.length == strlen(lower) && math_text_starts(t, lower);
}

static const struct {
    unsigned code;
    const char *text;
} replacements[] = { /* sorted */
    {0x00A2, " cents "}, {0x00A3, "\\pounds "}, {0x00A5, "\\yen "}, {0x00AC, "\\neg "}, {0x00AD, ""},
    {0x00B0, "^\\circ "}, {0x00B1, "\\pm "}, {0x00B4, "'"}, {0x00B7, "\\cdot "}, {0x00BC, "\\frac{1}{4}"},
    {0x00BD, "\\frac{1}{2}"}, {0x00BE, "\\frac{3}{4}"}, {0x00D7, "\\times "}, {0x00F7, "\\div "},
    {0x0393, "\\Gamma "}, {0x0394, "\\Delta "}, {0x0398, "\\Theta "}, {0x039B, "\\Lambda "}, {0x03A0, "\\Pi "},
    {0x03A3, "\\Sigma "}, {0x03A6, "\\Phi "}, {0x03A8, "\\Psi "}, {0x03A9, "\\Omega "}, {0x03B1, "\\alpha "},
    {0x03B2, "\\beta "}, {0x03B3, "\\gamma "}, {0x03B4, "\\delta "}, {0x03B5, "\\epsilon "},
    {0x03B6, "\\zeta "}, {0x03B7, "\\eta "}, {0x03B8, "\\theta "}, {0x03B9, "\\iota "}, {0x03BA, "\\kappa "},
    {0x03BB, "\\lambda "}, {0x03BC, "\\mu "}, {0x03BD, "\\nu "}, {0x03BE, "\\xi "}, {0x03C0, "\\pi "},
    {0x03C1, "\\rho "}, {0x03C3, "\\sigma "}, {0x03C4, "\\tau "}, {0x03C5, "\\upsilon "}, {0x03C6, "\\phi "},
    {0x03C7, "\\chi "}, {0x03C8, "\\psi "}, {0x03C9, "\\omega "}, {0x03D5, "\\phi "}, {0x060C, ","},
    {0x061B, ";"}, {0x066A, "\\%"}, {0x066B, "."}, {0x066C, ","}, {0x2010, "-"}, {0x2011, "-"}, {0x2012, "-"},
    {0x2013, "-"}, {0x2014, " "}, {0x2016, "\\|"}, {0x2018, "'"}, {0x2019, "'"}, {0x201C, "\""}, {0x201D, "\""},
    {0x2022, "\\cdot "}, {0x2026, "\\ldots "}, {0x2032, "'"}, {0x2033, "''"}, {0x2044, "/"}, {0x2061, " "},
    {0x2062, "\\cdot "}, {0x20AC, "\\euro "}, {0x20B9, "\\euro "}, {0x2102, "\\mathbb{C}"}, {0x2107, "e"},
    {0x2115, "\\mathbb{N}"}, {0x211A, "\\mathbb{Q}"}, {0x211D, "\\mathbb{R}"}, {0x2124, "\\mathbb{Z}"},
    {0x2147, "e"}, {0x2148, "i"}, {0x2150, "\\frac{1}{7}"}, {0x2151, "\\frac{1}{9}"}, {0x2152, "\\frac{1}{10}"},
    {0x2153, "\\frac{1}{3}"}, {0x2154, "\\frac{2}{3}"}, {0x2155, "\\frac{1}{5}"}, {0x2156, "\\frac{2}{5}"},
    {0x2157, "\\frac{3}{5}"}, {0x2158, "\\frac{4}{5}"}, {0x2159, "\\frac{1}{6}"}, {0x215A, "\\frac{5}{6}"},
    {0x215B, "\\frac{1}{8}"}, {0x215C, "\\frac{3}{8}"}, {0x215D, "\\frac{5}{8}"}, {0x215E, "\\frac{7}{8}"},
    {0x2190, "\\leftarrow "}, {0x2192, "\\to "}, {0x21D2, "\\Rightarrow "}, {0x21D4, "\\Leftrightarrow "},
    {0x2200, "\\forall "}, {0x2205, "\\emptyset "}, {0x2206, "\\Delta "}, {0x2208, "\\in "},
    {0x2209, "\\notin "}, {0x220F, "\\prod "}, {0x2211, "\\sum "}, {0x2212, "-"}, {0x2213, "\\mp "},
    {0x2215, "/"}, {0x2216, "\\setminus "}, {0x2217, "*"}, {0x2218, "\\circ "}, {0x2219, "\\cdot "},
    {0x221A, "\\sqrt "}, {0x221B, "\\sqrt[3] "}, {0x221C, "\\sqrt[4] "}, {0x221E, "\\infty "},
    {0x2220, "\\angle "}, {0x2223, "|"}, {0x2225, "\\|"}, {0x2227, "\\land "}, {0x2228, "\\lor "},
    {0x2229, "\\cap "}, {0x222A, "\\cup "}, {0x222B, "\\int "}, {0x2234, "\\therefore "}, {0x2236, ":"},
    {0x223C, "\\sim "}, {0x2243, "\\simeq "}, {0x2245, "\\cong "}, {0x2248, "\\approx "}, {0x2260, "\\ne "},
    {0x2261, "\\equiv "}, {0x2264, "\\le "}, {0x2265, "\\ge "}, {0x2266, "\\le "}, {0x2267, "\\ge "},
    {0x2282, "\\subset "}, {0x2286, "\\subseteq "}, {0x22C5, "\\cdot "}, {0x22EF, "\\cdots "},
    {0x2308, "\\lceil "}, {0x2309, "\\rceil "}, {0x230A, "\\lfloor "}, {0x230B, "\\rfloor "}, {0x2A7D, "\\le "},
    {0x2A7E, "\\ge "}, {0x3001, ","}, {0x3002, "."}, {0x5143, " yuan "}, {0x548C, " and "}, {0x6216, " or "},
};

static const char *find_replacement(unsigned code)
{
    size_t low = 0, high = sizeof replacements / sizeof *replacements;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (replacements[middle].code == code)
            return replacements[middle].text;
        if (replacements[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Decimal digit value of a code point in one of the common scripts, or -1. */
static int digit_value(unsigned code)
{
    static const unsigned zeros[] = {0x0660, 0x06F0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6,
                                     0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x17E0,
                                     0x1810, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6};
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        if (code >= zeros[i] && code < zeros[i] + 10)
            return (int)(code - zeros[i]);
    return -1;
}

/* Superscript (base 0x2070) and subscript (0x2080) characters; 0 when it is none. */
static char script_character(unsigned code, unsigned base)
{
    if (base == 0x2070 && (code == 0xB9 || code == 0xB2 || code == 0xB3))
        return code == 0xB9 ? '1' : code == 0xB2 ? '2' : '3';
    if (code < base || code > base + 0xF)
        return 0;
    /* 2071 is a superscript i; 2072, 2073 and their like below are not assigned */
    static const char up[] = "0i  456789+-=()n", down[] = "0123456789+-=() ";
    char c = (base == 0x2070 ? up : down)[code - base];
    return c == ' ' ? 0 : c;
}

/* One code point from s[0..n); *code is 0xFFFD for ill-formed bytes. Returns its length. */
static size_t decode(const unsigned char *s, size_t n, unsigned *code)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : s[0] >= 0xC0 ? 2 : 0;
    *code = 0xFFFD;
    if (length == 1)
        *code = s[0];
    if (length < 2 || length > n)
        return 1;
    unsigned c = s[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 1;
        c = c << 6 | (s[i] & 0x3F);
    }
    if (c >= least[length] && c <= 0x10FFFF)
        *code = c;
    return length;
}

static int is_unicode_space(unsigned code)
{
    return code == 0xA0 || (code >= 0x2000 && code <= 0x200A) || code == 0x202F || code == 0x205F ||
           code == 0x3000 || code == 0x2028 || code == 0x2029;
}

/* Letters that mean the ASCII letter in another style (mathematical alphanumerics). */
static char styled_letter(unsigned code)
{
    if (code < 0x1D400 || code > 0x1D6A3)
        return 0;
    unsigned at = (code - 0x1D400) % 52;
    return (char)(at < 26 ? 'A' + at : 'a' + at - 26);
}

static void put_script(strbuf *out, const unsigned char *s, size_t n, size_t *i, unsigned base)
{
    unsigned code;
    strbuf_puts(out, base == 0x2070 ? "^{" : "_{");
    while (*i < n) {
        size_t length = decode(s + *i, n - *i, &code);
        char c = script_character(code, base);
        if (!c)
            break;
        strbuf_putc(out, c);
        *i += length;
    }
    strbuf_putc(out, '}');
}

static void put_code_point(strbuf *out, unsigned code)
{
    const char *text = find_replacement(code);
    int digit = digit_value(code);
    char styled = styled_letter(code);
    if (text)
        strbuf_puts(out, text);
    else if (digit >= 0)
        strbuf_putc(out, (char)('0' + digit));
    else if (styled)
        strbuf_putc(out, styled);
    else if (code >= 0xFF01 && code <= 0xFF5E)
        strbuf_putc(out, (char)(code - 0xFEE0));
    else if (is_unicode_space(code))
        strbuf_putc(out, ' ');
    else if (code == 0xFFFD || code < 0xC0 || (code >= 0x200B && code <= 0x200F) || code == 0xFEFF ||
             (code >= 0x2060 && code <= 0x206F) || (code >= 0x202A && code <= 0x202E))
        strbuf_putc(out, '\1');
    else
        strbuf_put_utf8(out, code); /* letters of other scripts: text answers */
}

math_slice math_text_clean(math_tree *tree, math_slice text)
{
    const unsigned char *s = (const unsigned char *)text.data;
    size_t n = text.length, i = 0;
    while (i < n && s[i] < 0x80)
        i++;
    if (i == n)
        return text;
    strbuf out = STRBUF_INIT;
    strbuf_append(&out, s, i);
    while (i < n) {
        unsigned code;
        size_t length = decode(s + i, n - i, &code);
        if (code >= 0x80 && script_character(code, 0x2070)) {
            put_script(&out, s, n, &i, 0x2070);
            continue;
        }
        if (code >= 0x80 && script_character(code, 0x2080)) {
            put_script(&out, s, n, &i, 0x2080);
            continue;
        }
        if (code < 0x80)
            strbuf_putc(&out, (char)code);
        else
            put_code_point(&out, code);
        i += length;
    }
    math_slice result = {NULL, 0};
    if (!out.failed)
        result.data = math_tree_text(tree, strbuf_text(&out), out.length), result.length = out.length;
    else
        tree->no_memory = 1;
    strbuf_deinit(&out);
    return result.data ? result : (math_slice){NULL, 0};
}
