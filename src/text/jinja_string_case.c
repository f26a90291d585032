/* Methods of str: case, classes of characters, padding. */
#include <string.h>

#include "text/jinja_builtins.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

#define METHOD(name)                                                                               \
    static jinja_value name(jinja_run *r, jinja_value self, const jinja_value *arg, const jinja_call *call)
#define UNUSED (void)r, (void)self, (void)arg, (void)call

/* ---- case -------------------------------------------------------------------------------------- */

static jinja_value convert(jinja_run *r, jinja_value self, jinja_case how)
{
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_convert_case(r, b, self.string->data, self.string->length, how);
    return jinja_as_markup(r, jinja_buffer_finish(r, b), self.string->markup);
}

#define CASE_METHOD(name, how)                                                                     \
    METHOD(name)                                                                                   \
    {                                                                                              \
        UNUSED;                                                                                    \
        return convert(r, self, how);                                                              \
    }

CASE_METHOD(str_lower, JINJA_LOWER)
CASE_METHOD(str_upper, JINJA_UPPER)
CASE_METHOD(str_title, JINJA_TITLE)
CASE_METHOD(str_capitalize, JINJA_CAPITALIZE)
CASE_METHOD(str_swapcase, JINJA_SWAP)
CASE_METHOD(str_casefold, JINJA_FOLD)

/* ---- classes ------------------------------------------------------------------------------------- */

/* Do all characters have the property? `empty` is the answer for "". */
static jinja_value all_points(jinja_run *r, jinja_value self, bool (*property)(uint32_t), bool empty)
{
    const jinja_string *s = self.string;
    size_t width;
    jinja_charge_bytes(r, s->length * 4);
    for (size_t i = 0; i < s->length; i += width)
        if (!property(utf8_decode(s->data + i, &width)))
            return jinja_bool(false);
    return jinja_bool(s->length ? true : empty);
}

static bool is_ascii(uint32_t c)
{
    return c < 0x80;
}

#define CLASS_METHOD(name, property, empty)                                                        \
    METHOD(name)                                                                                   \
    {                                                                                              \
        UNUSED;                                                                                    \
        return all_points(r, self, property, empty);                                               \
    }

CLASS_METHOD(str_isalnum, jinja_is_alnum, false)
CLASS_METHOD(str_isalpha, jinja_is_alpha, false)
CLASS_METHOD(str_isascii, is_ascii, true)
CLASS_METHOD(str_isdecimal, jinja_is_decimal, false)
CLASS_METHOD(str_isdigit, jinja_is_digit, false)
CLASS_METHOD(str_isnumeric, jinja_is_numeric, false)
CLASS_METHOD(str_isprintable, jinja_is_printable, true)
CLASS_METHOD(str_isspace, jinja_is_space, false)

/* At least one cased character, and none of the other case. */
static jinja_value all_cased(jinja_run *r, jinja_value self, bool upper)
{
    const jinja_string *s = self.string;
    bool some = false;
    size_t width;
    jinja_charge_bytes(r, s->length * 4);
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        if (jinja_is_title(c) || (upper ? jinja_is_lower(c) : jinja_is_upper(c)))
            return jinja_bool(false);
        some |= upper ? jinja_is_upper(c) : jinja_is_lower(c);
    }
    return jinja_bool(some);
}

METHOD(str_islower)
{
    UNUSED;
    return all_cased(r, self, false);
}

METHOD(str_isupper)
{
    UNUSED;
    return all_cased(r, self, true);
}

METHOD(str_istitle)
{
    UNUSED;
    const jinja_string *s = self.string;
    bool some = false, inside = false;
    size_t width;
    for (size_t i = 0; i < s->length; i += width) {
        uint32_t c = utf8_decode(s->data + i, &width);
        bool upper = jinja_is_upper(c) || jinja_is_title(c), lower = jinja_is_lower(c);
        if ((upper && inside) || (lower && !inside))
            return jinja_bool(false);
        inside = upper || lower;
        some |= inside;
    }
    return jinja_bool(some);
}

METHOD(str_isidentifier)
{
    UNUSED;
    const jinja_string *s = self.string;
    size_t width;
    for (size_t i = 0; i < s->length; i += width)
        if (!jinja_is_name_point(utf8_decode(s->data + i, &width), i == 0))
            return jinja_bool(false);
    return jinja_bool(s->length != 0);
}

/* ---- padding ------------------------------------------------------------------------------------------ */

static jinja_value pad(jinja_run *r, jinja_value self, const jinja_value *arg, int64_t left, int64_t right)
{
    jinja_value fill = arg[1].type == JINJA_MISSING ? jinja_text(r, " ") : arg[1];
    if (fill.type != JINJA_STRING)
        jinja_fail(r, JINJA_TYPE_ERROR, "The fill character must be a unicode character, not %s",
                   jinja_type_name(fill));
    if (self.string->markup)
        fill = jinja_escape(r, fill);
    if (jinja_points(fill.string) != 1)
        jinja_fail(r, JINJA_TYPE_ERROR, "The fill character must be exactly one character long");
    jinja_buffer *b = jinja_buffer_open(r);
    size_t width;
    uint32_t c = utf8_decode(fill.string->data, &width);
    jinja_put_fill(r, b, c, left);
    jinja_put(r, b, self.string->data, self.string->length);
    jinja_put_fill(r, b, c, right);
    return jinja_as_markup(r, jinja_buffer_finish(r, b), self.string->markup);
}

/* How many characters are missing to the asked width. */
static int64_t room(jinja_run *r, jinja_value self, jinja_value width)
{
    int64_t n = (int64_t)jinja_points(self.string), want = jinja_index_value(r, width);
    return want > n ? want - n : 0;
}

METHOD(str_center)
{
    UNUSED;
    int64_t n = room(r, self, arg[0]), width = jinja_whole(arg[0]);
    int64_t left = n / 2 + (n & width & 1);
    return pad(r, self, arg, left, n - left);
}

METHOD(str_ljust)
{
    UNUSED;
    return pad(r, self, arg, 0, room(r, self, arg[0]));
}

METHOD(str_rjust)
{
    UNUSED;
    return pad(r, self, arg, room(r, self, arg[0]), 0);
}

METHOD(str_zfill)
{
    UNUSED;
    const jinja_string *s = self.string;
    int64_t n = room(r, self, arg[0]);
    size_t sign = s->length && (s->data[0] == '+' || s->data[0] == '-');
    if (n == 0)
        return self;
    jinja_buffer *b = jinja_buffer_open(r);
    jinja_put(r, b, s->data, sign);
    jinja_put_fill(r, b, '0', n);
    jinja_put(r, b, s->data + sign, s->length - sign);
    return jinja_as_markup(r, jinja_buffer_finish(r, b), s->markup);
}

const jinja_builtin jinja_string_case_methods[] = {
    {"capitalize", "", 0, 0, str_capitalize},
    {"casefold", "", 0, 0, str_casefold},
    {"center", "width fillchar", 1, JINJA_POSITIONAL, str_center},
    {"isalnum", "", 0, 0, str_isalnum},
    {"isalpha", "", 0, 0, str_isalpha},
    {"isascii", "", 0, 0, str_isascii},
    {"isdecimal", "", 0, 0, str_isdecimal},
    {"isdigit", "", 0, 0, str_isdigit},
    {"isidentifier", "", 0, 0, str_isidentifier},
    {"islower", "", 0, 0, str_islower},
    {"isnumeric", "", 0, 0, str_isnumeric},
    {"isprintable", "", 0, 0, str_isprintable},
    {"isspace", "", 0, 0, str_isspace},
    {"istitle", "", 0, 0, str_istitle},
    {"isupper", "", 0, 0, str_isupper},
    {"ljust", "width fillchar", 1, JINJA_POSITIONAL, str_ljust},
    {"lower", "", 0, 0, str_lower},
    {"rjust", "width fillchar", 1, JINJA_POSITIONAL, str_rjust},
    {"swapcase", "", 0, 0, str_swapcase},
    {"title", "", 0, 0, str_title},
    {"upper", "", 0, 0, str_upper},
    {"zfill", "width", 1, JINJA_POSITIONAL, str_zfill},
    {NULL, NULL, 0, 0, NULL},
};
