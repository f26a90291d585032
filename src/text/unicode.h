/* UTF-8 and character properties, as the `tokenizers` crate 0.23.3 sees them (Unicode 16.0 for
 * general categories; see scripts/make-unicode-tables.py for the rest). The system's PCRE2 and
 * utf8proc are of many versions, so nothing here depends on them. */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "grpo/error.h"

/* General categories, in the order of the generated table. */
#define UNICODE_CATEGORY_TABLE(X)                                                                  \
    X(CN, "Cn") X(CC, "Cc") X(CF, "Cf") X(CO, "Co") X(CS, "Cs") X(LL, "Ll") X(LM, "Lm")            \
    X(LO, "Lo") X(LT, "Lt") X(LU, "Lu") X(MC, "Mc") X(ME, "Me") X(MN, "Mn") X(ND, "Nd")            \
    X(NL, "Nl") X(NO, "No") X(PC, "Pc") X(PD, "Pd") X(PE, "Pe") X(PF, "Pf") X(PI, "Pi")            \
    X(PO, "Po") X(PS, "Ps") X(SC, "Sc") X(SK, "Sk") X(SM, "Sm") X(SO, "So") X(ZL, "Zl")            \
    X(ZP, "Zp") X(ZS, "Zs")

enum {
#define X(name, text) UNICODE_##name,
    UNICODE_CATEGORY_TABLE(X)
#undef X
    UNICODE_CATEGORIES
};

/* The other bits of a property byte. */
#define UNICODE_CATEGORY 31  /* mask of the category */
#define UNICODE_WORD 32      /* \w of regular expressions */
#define UNICODE_NUMERIC 64   /* Rust's char::is_numeric (Unicode 17.0) */
#define UNICODE_COMPOSES 128 /* may change under NFC */

#define UNICODE_LETTER_MASK                                                                        \
    (1u << UNICODE_LL | 1u << UNICODE_LM | 1u << UNICODE_LO | 1u << UNICODE_LT | 1u << UNICODE_LU)
#define UNICODE_MARK_MASK (1u << UNICODE_MC | 1u << UNICODE_ME | 1u << UNICODE_MN)
#define UNICODE_NUMBER_MASK (1u << UNICODE_ND | 1u << UNICODE_NL | 1u << UNICODE_NO)

/* One property byte for each code point. Filled by unicode_init. */
extern unsigned char unicode_property[0x110000];

/* Call before anything below; safe from any thread, cheap after the first time. */
void unicode_init(void);

static inline unsigned unicode_category_bit(unsigned c)
{
    return 1u << (unicode_property[c] & UNICODE_CATEGORY);
}

static inline int unicode_is_letter(unsigned c)
{
    return (unicode_category_bit(c) & UNICODE_LETTER_MASK) != 0;
}

static inline int unicode_is_number(unsigned c)
{
    return (unicode_category_bit(c) & UNICODE_NUMBER_MASK) != 0;
}

/* White_Space: \s of both regular-expression engines and char::is_whitespace. */
static inline int unicode_is_space(unsigned c)
{
    return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 ||
           (c >= 0xA0 && (unicode_property[c] & UNICODE_CATEGORY) >= UNICODE_ZL);
}

/* \w of Rust's regex crate, which differs from Oniguruma's in eight characters. */
int unicode_is_rust_word(unsigned c);
int unicode_is_punctuation(unsigned c); /* as the Punctuation pre-tokenizer has it */
int unicode_is_accent(unsigned c);      /* as the StripAccents normaliser has it */
int unicode_is_inert(unsigned c);       /* unknown to the crate's normalisation */
int unicode_is_recent(unsigned c);      /* assigned by Unicode 16.0 but not by 14.0 */
unsigned unicode_to_lower(unsigned c);  /* one character; U+0130 gives i (and U+0307 after it) */

/* ---- UTF-8 -------------------------------------------------------------------------- */

/* Decodes the character at p; the text must be valid UTF-8 and p < end. *size gets its bytes. */
static inline unsigned utf8_decode(const char *p, size_t *size)
{
    const unsigned char *b = (const unsigned char *)p;
    if (b[0] < 0x80) {
        *size = 1;
        return b[0];
    }
    if (b[0] < 0xE0) {
        *size = 2;
        return (b[0] & 0x1Fu) << 6 | (b[1] & 0x3Fu);
    }
    if (b[0] < 0xF0) {
        *size = 3;
        return (b[0] & 0x0Fu) << 12 | (b[1] & 0x3Fu) << 6 | (b[2] & 0x3Fu);
    }
    *size = 4;
    return (b[0] & 0x07u) << 18 | (b[1] & 0x3Fu) << 12 | (b[2] & 0x3Fu) << 6 | (b[3] & 0x3Fu);
}

/* Bytes of the character that starts with this byte (of valid UTF-8). */
static inline size_t utf8_size(unsigned char first)
{
    return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* Start of the character that ends before p (start < p, valid UTF-8). */
static inline const char *utf8_previous(const char *p)
{
    do
        p--;
    while (((unsigned char)*p & 0xC0) == 0x80);
    return p;
}

/* Length of the valid UTF-8 at the start of text. */
size_t utf8_valid_prefix(const char *text, size_t length);

/* What lies at p, where valid UTF-8 ends: the length of the maximal ill-formed part (1 to 3), or 0
 * when the text ends inside a character that could still become valid. */
size_t utf8_bad_part(const char *p, size_t length);

/* Appends text with one U+FFFD for each maximal ill-formed part (Unicode 16, section 3.9, "U+FFFD
 * substitution of maximal subparts"). */
void utf8_append_lossy(strbuf *out, const char *text, size_t length);

#endif
