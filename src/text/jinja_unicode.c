/* Character classes and case conversion as Python's str has them. */
#include <utf8proc.h>

#include "text/jinja_unicode.h"
#include "text/jinja_unicode_tables.h"

#define COUNT(table) (sizeof(table) / sizeof *(table))

static bool in_ranges(const uint32_t (*ranges)[2], size_t n, uint32_t c)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle][1])
            low = middle + 1;
        else if (c < ranges[middle][0])
            high = middle;
        else
            return true;
    }
    return false;
}

static unsigned category(uint32_t c)
{
    return unicode_property[c] & UNICODE_CATEGORY;
}

size_t jinja_count_points(const char *s, size_t n)
{
    size_t points = 0;
    for (size_t i = 0; i < n; i++)
        points += ((unsigned char)s[i] & 0xC0) != 0x80;
    return points;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

bool jinja_is_line_break(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool jinja_is_alpha(uint32_t c)
{
    return unicode_is_letter(c);
}

bool jinja_is_decimal(uint32_t c)
{
    return category(c) == UNICODE_ND;
}

bool jinja_is_digit(uint32_t c)
{
    return jinja_is_decimal(c) || in_ranges(other_digit, COUNT(other_digit), c);
}

bool jinja_is_numeric(uint32_t c)
{
    return unicode_is_number(c) || in_ranges(other_numeric, COUNT(other_numeric), c);
}

bool jinja_is_alnum(uint32_t c)
{
    return jinja_is_alpha(c) || jinja_is_numeric(c);
}

bool jinja_is_lower(uint32_t c)
{
    return category(c) == UNICODE_LL || in_ranges(other_lower, COUNT(other_lower), c);
}

bool jinja_is_upper(uint32_t c)
{
    return category(c) == UNICODE_LU || in_ranges(other_upper, COUNT(other_upper), c);
}

bool jinja_is_title(uint32_t c)
{
    return category(c) == UNICODE_LT;
}

bool jinja_is_printable(uint32_t c)
{
    if (c < 0x7F)
        return c >= ' ';
    switch (category(c)) {
    case UNICODE_CN:
    case UNICODE_ZS:
    case UNICODE_ZL:
    case UNICODE_ZP:
    case UNICODE_CC:
    case UNICODE_CF:
    case UNICODE_CS:
    case UNICODE_CO:
        return false;
    default:
        return true;
    }
}

bool jinja_is_name_point(uint32_t c, bool first)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               (!first && c >= '0' && c <= '9');
    unsigned k = category(c);
    bool usual = unicode_is_letter(c) || k == UNICODE_NL ||
                 (!first && (k == UNICODE_MN || k == UNICODE_MC || k == UNICODE_ND || k == UNICODE_PC));
    return usual != (first ? in_ranges(odd_name_start, COUNT(odd_name_start), c)
                           : in_ranges(odd_name_continue, COUNT(odd_name_continue), c));
}

int jinja_decimal_value(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9' ? (int)c - '0' : -1;
    if (!jinja_is_decimal(c))
        return -1;
    /* Decimal digits come in runs of ten; mathematical ones in five runs one after the other. */
    if (c >= 0x1D7CE && c <= 0x1D7FF)
        return (int)(c - 0x1D7CE) % 10;
    uint32_t zero = c;
    while (c - zero < 9 && jinja_is_decimal(zero - 1))
        zero--;
    return (int)(c - zero);
}

/* ---- case ------------------------------------------------------------------------- */

static const special_case *find_special(uint32_t c)
{
    size_t low = 0, high = COUNT(special_cases);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (special_cases[middle].from == c)
            return &special_cases[middle];
        if (special_cases[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static void put_points(jinja_run *r, jinja_buffer *out, const uint32_t points[3])
{
    for (int i = 0; i < 3 && points[i]; i++)
        jinja_put_point(r, out, points[i]);
}

static bool case_ignorable(uint32_t c)
{
    switch (category(c)) {
    case UNICODE_MN:
    case UNICODE_ME:
    case UNICODE_CF:
    case UNICODE_LM:
    case UNICODE_SK:
        return true;
    default:
        return in_ranges(other_case_ignorable, COUNT(other_case_ignorable), c);
    }
}

static bool cased(uint32_t c)
{
    return jinja_is_lower(c) || jinja_is_upper(c) || jinja_is_title(c);
}

/* Does the sigma at `at` end a word (Unicode's Final_Sigma)? */
static bool final_sigma(const char *s, size_t n, size_t at)
{
    size_t width, i = at;
    bool before = false;
    while (i > 0) {
        do
            i--;
        while (i > 0 && ((unsigned char)s[i] & 0xC0) == 0x80);
        uint32_t c = utf8_decode(s + i, &width);
        if (case_ignorable(c))
            continue;
        before = cased(c);
        break;
    }
    if (!before)
        return false;
    for (i = at + 2; i < n; i += width) {
        uint32_t c = utf8_decode(s + i, &width);
        if (!case_ignorable(c))
            return !cased(c);
    }
    return true;
}

static void put_lower(jinja_run *r, jinja_buffer *out, const char *s, size_t n, size_t at)
{
    size_t width;
    uint32_t c = utf8_decode(s + at, &width);
    if (c == 0x3A3)
        jinja_put_point(r, out, final_sigma(s, n, at) ? 0x3C2 : 0x3C3);
    else if (c == 0x130)
        jinja_puts(r, out, "i\xCC\x87");
    else
        jinja_put_point(r, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

static void put_upper(jinja_run *r, jinja_buffer *out, uint32_t c)
{
    const special_case *special = find_special(c);
    if (special)
        put_points(r, out, special->upper);
    else
        jinja_put_point(r, out, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c));
}

static void put_title(jinja_run *r, jinja_buffer *out, uint32_t c)
{
    const special_case *special = find_special(c);
    if (special)
        put_points(r, out, special->title);
    else
        jinja_put_point(r, out, (uint32_t)utf8proc_totitle((utf8proc_int32_t)c));
}

static void put_fold(jinja_run *r, jinja_buffer *out, uint32_t c)
{
    const special_case *special = find_special(c);
    if (special) {
        put_points(r, out, special->fold);
        return;
    }
    for (size_t i = 0; i < COUNT(special_folds); i++)
        if (special_folds[i][0] == c) {
            jinja_put_point(r, out, special_folds[i][1]);
            return;
        }
    jinja_put_point(r, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

void jinja_convert_case(jinja_run *r, jinja_buffer *out, const char *s, size_t n, jinja_case how)
{
    bool inside = false; /* a word, for titles */
    size_t width;
    for (size_t i = 0; i < n; i += width) {
        uint32_t c = utf8_decode(s + i, &width);
        jinja_case now = how;
        if (how == JINJA_CAPITALIZE)
            now = i == 0 ? JINJA_TITLE : JINJA_LOWER;
        else if (how == JINJA_TITLE)
            now = inside ? JINJA_LOWER : JINJA_TITLE;
        else if (how == JINJA_SWAP && !jinja_is_upper(c) && !jinja_is_lower(c))
            now = JINJA_SWAP;
        else if (how == JINJA_SWAP)
            now = jinja_is_upper(c) ? JINJA_LOWER : JINJA_UPPER;
        inside = cased(c);
        if (now == JINJA_LOWER)
            put_lower(r, out, s, n, i);
        else if (now == JINJA_UPPER)
            put_upper(r, out, c);
        else if (now == JINJA_TITLE)
            put_title(r, out, c);
        else if (now == JINJA_FOLD)
            put_fold(r, out, c);
        else
            jinja_put(r, out, s + i, width);
    }
    jinja_charge(r, 4 + n / 8);
}
