/* Characters as Python's str sees them: classes, and full case conversion (one character may become
 * three). Categories come from unicode.h (call unicode_init before), simple
 * case mappings from utf8proc; what both lack is in small tables. */
#ifndef TEXT_JINJA_UNICODE_H
#define TEXT_JINJA_UNICODE_H

#include "text/jinja_run.h"
#include "text/unicode.h"

size_t jinja_count_points(const char *s, size_t n);

bool jinja_is_space(uint32_t c);
bool jinja_is_line_break(uint32_t c); /* as str.splitlines */
bool jinja_is_alpha(uint32_t c);
bool jinja_is_decimal(uint32_t c);
bool jinja_is_digit(uint32_t c);
bool jinja_is_numeric(uint32_t c);
bool jinja_is_alnum(uint32_t c);
bool jinja_is_lower(uint32_t c);
bool jinja_is_upper(uint32_t c);
bool jinja_is_title(uint32_t c);
bool jinja_is_printable(uint32_t c);
bool jinja_is_name_point(uint32_t c, bool first); /* of an identifier */
int jinja_decimal_value(uint32_t c);              /* 0 to 9, or -1 */

typedef enum jinja_case {
    JINJA_LOWER,
    JINJA_UPPER,
    JINJA_CAPITALIZE,
    JINJA_TITLE,
    JINJA_SWAP,
    JINJA_FOLD
} jinja_case;

/* Appends the converted text. */
void jinja_convert_case(jinja_run *r, jinja_buffer *out, const char *s, size_t n, jinja_case how);

#endif
