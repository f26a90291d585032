/* Character properties from the generated tables, and UTF-8 validation. */
#include <pthread.h>
#include <string.h>

#include "text/unicode.h"
#include "text/unicode_tables.h"

unsigned char unicode_property[0x110000];

static void fill(void)
{
    for (size_t i = 0; i < unicode_runs_count; i++) {
        size_t first = unicode_runs[i] >> 8;
        size_t end = i + 1 < unicode_runs_count ? unicode_runs[i + 1] >> 8 : 0x110000;
        memset(unicode_property + first, (int)(unicode_runs[i] & 0xFF), end - first);
    }
}

void unicode_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}

static int in_ranges(unsigned c, const uint32_t (*ranges)[2], size_t count)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && c >= ranges[low][0];
}

int unicode_is_rust_word(unsigned c)
{
    if (c == 0x200C || c == 0x200D)
        return 1;
    if (c == 0xB2 || c == 0xB3 || c == 0xB9 || (c >= 0xBC && c <= 0xBE))
        return 0;
    return (unicode_property[c] & UNICODE_WORD) != 0;
}

int unicode_is_punctuation(unsigned c)
{
    return in_ranges(c, unicode_punctuation, unicode_punctuation_count);
}

int unicode_is_accent(unsigned c)
{
    return in_ranges(c, unicode_accents, unicode_accents_count);
}

int unicode_is_recent(unsigned c)
{
    return in_ranges(c, unicode_recent, unicode_recent_count);
}

int unicode_is_inert(unsigned c)
{
    return (unicode_property[c] & UNICODE_CATEGORY) == UNICODE_CN ||
           in_ranges(c, unicode_inert, unicode_inert_count);
}

unsigned unicode_to_lower(unsigned c)
{
    if (c == 0x130)
        return 'i';
    size_t low = 0, high = unicode_lower_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((int32_t)c > unicode_lower[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    if (low == unicode_lower_count || (int32_t)c < unicode_lower[low][0])
        return c;
    const int32_t *rule = unicode_lower[low];
    return ((int32_t)c - rule[0]) % rule[2] == 0 ? (unsigned)((int32_t)c + rule[3]) : c;
}

/* ---- UTF-8 -------------------------------------------------------------------------- */

/* Bytes that a well-formed character with this first byte has; 0 when none starts so. The range of
 * the second byte goes to *low and *high (Unicode 16, table 3-7). */
static size_t expected_size(unsigned char first, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (first < 0x80)
        return 1;
    if (first >= 0xC2 && first <= 0xDF)
        return 2;
    if (first >= 0xE0 && first <= 0xEF) {
        if (first == 0xE0)
            *low = 0xA0;
        if (first == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        if (first == 0xF0)
            *low = 0x90;
        if (first == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

/* Well-formed bytes of the character at p, at most its full size; *full gets that size (0: no
 * character starts with this byte). */
static size_t well_formed(const unsigned char *p, size_t length, size_t *full)
{
    unsigned char low, high;
    *full = expected_size(p[0], &low, &high);
    size_t n = 1;
    while (n < *full && n < length && p[n] >= low && p[n] <= high) {
        low = 0x80;
        high = 0xBF;
        n++;
    }
    return n;
}

size_t utf8_valid_prefix(const char *text, size_t length)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t i = 0, full;
    while (i < length) {
        uint64_t eight;
        if (length - i >= 8 && (memcpy(&eight, p + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        size_t n = well_formed(p + i, length - i, &full);
        if (n != full)
            break;
        i += n;
    }
    return i;
}

size_t utf8_bad_part(const char *p, size_t length)
{
    size_t full;
    size_t n = well_formed((const unsigned char *)p, length, &full);
    return full != 0 && n == length ? 0 : n;
}

void utf8_append_lossy(strbuf *out, const char *text, size_t length)
{
    while (length > 0) {
        size_t valid = utf8_valid_prefix(text, length);
        strbuf_append(out, text, valid);
        text += valid;
        length -= valid;
        if (length == 0)
            break;
        size_t bad = utf8_bad_part(text, length);
        if (bad == 0)
            bad = length;
        strbuf_puts(out, "\xEF\xBF\xBD");
        text += bad;
        length -= bad;
    }
}
