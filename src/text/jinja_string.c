/* Strings: making, sharing and joining them, counting by code points, and Markup's escaping. */
#define _GNU_SOURCE /* memmem: linear in the worst case too */
#include <string.h>

#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

#define UNCOUNTED SIZE_MAX
#define ROOM_FROM 128 /* bytes from which a joined string gets room to grow */

static jinja_string *new_string(jinja_run *r, const char *data, size_t length)
{
    jinja_string *s = jinja_alloc(r, 1, sizeof *s);
    *s = (jinja_string){.data = data, .length = length, .points = UNCOUNTED};
    return s;
}

jinja_value jinja_borrow_text(jinja_run *r, const char *data, size_t length)
{
    return jinja_of_string(new_string(r, data, length));
}

jinja_value jinja_text(jinja_run *r, const char *text)
{
    return jinja_borrow_text(r, text, strlen(text));
}

jinja_value jinja_copy_text(jinja_run *r, const char *data, size_t length)
{
    char *copy = jinja_alloc(r, length, 1);
    if (length)
        memcpy(copy, data, length);
    jinja_charge_bytes(r, length);
    return jinja_borrow_text(r, copy, length);
}

jinja_value jinja_part(jinja_run *r, const jinja_string *s, size_t offset, size_t length)
{
    jinja_string *part = new_string(r, s->data + offset, length);
    part->markup = s->markup;
    if (s->points == s->length)
        part->points = length;
    /* A prefix keeps the room only if it ends where the room is used up. */
    return jinja_of_string(part);
}

jinja_value jinja_as_markup(jinja_run *r, jinja_value s, bool markup)
{
    if (s.string->markup == markup)
        return s;
    jinja_string *copy = new_string(r, s.string->data, s.string->length);
    copy->points = s.string->points;
    copy->markup = markup;
    return jinja_of_string(copy);
}

size_t jinja_points(const jinja_string *s)
{
    if (s->points == UNCOUNTED)
        ((jinja_string *)s)->points = jinja_count_points(s->data, s->length); /* constants are counted */
    return s->points;
}

size_t jinja_point_offset(const jinja_string *s, size_t point)
{
    if (jinja_points(s) == s->length)
        return point;
    size_t i = 0;
    while (point && i < s->length) {
        do
            i++;
        while (i < s->length && ((unsigned char)s->data[i] & 0xC0) == 0x80);
        point--;
    }
    return i;
}

size_t jinja_point_index(const jinja_string *s, size_t offset)
{
    return jinja_points(s) == s->length ? offset : jinja_count_points(s->data, offset);
}

jinja_value jinja_join_two(jinja_run *r, jinja_value a, jinja_value b)
{
    jinja_string *x = a.string, *y = b.string;
    if (y->length > JINJA_MAX_OUTPUT || x->length > JINJA_MAX_OUTPUT - y->length)
        jinja_fail(r, JINJA_LIMIT, "a string is longer than %zu MiB", JINJA_MAX_OUTPUT >> 20);
    size_t length = x->length + y->length;
    jinja_room *room = x->room;
    char *data;
    if (room && room->used == x->length && room->capacity >= length) {
        data = (char *)x->data;
        jinja_charge_bytes(r, y->length);
    } else {
        size_t capacity = length < ROOM_FROM ? length : length * 2;
        data = jinja_alloc(r, capacity, 1);
        if (x->length)
            memcpy(data, x->data, x->length);
        room = NULL;
        if (capacity > length) {
            room = jinja_alloc(r, 1, sizeof *room);
            room->capacity = capacity;
        }
        jinja_charge_bytes(r, length);
    }
    if (y->length)
        memcpy(data + x->length, y->data, y->length);
    jinja_string *s = new_string(r, data, length);
    s->room = room;
    if (room)
        room->used = length;
    if (x->points != UNCOUNTED && y->points != UNCOUNTED)
        s->points = x->points + y->points;
    return jinja_of_string(s);
}

jinja_value jinja_buffer_finish(jinja_run *r, jinja_buffer *b)
{
    jinja_value v = jinja_copy_text(r, b->data, b->length);
    jinja_buffer_close(r, b);
    return v;
}

jinja_value jinja_escape(jinja_run *r, jinja_value v)
{
    if (v.type == JINJA_STRING && v.string->markup)
        return v;
    v = jinja_str(r, v);
    const jinja_string *s = v.string;
    jinja_buffer *b = jinja_buffer_open(r);
    for (size_t i = 0; i < s->length; i++) {
        switch (s->data[i]) {
        case '&':
            jinja_puts(r, b, "&amp;");
            break;
        case '<':
            jinja_puts(r, b, "&lt;");
            break;
        case '>':
            jinja_puts(r, b, "&gt;");
            break;
        case '\'':
            jinja_puts(r, b, "&#39;");
            break;
        case '"':
            jinja_puts(r, b, "&#34;");
            break;
        default:
            jinja_put(r, b, s->data + i, 1);
        }
    }
    jinja_value out = jinja_buffer_finish(r, b);
    out.string->markup = true;
    return out;
}

bool jinja_text_is(jinja_value v, const char *text)
{
    return v.type == JINJA_STRING && v.string->length == strlen(text) &&
           memcmp(v.string->data, text, v.string->length) == 0;
}

size_t jinja_find_bytes(const char *hay, size_t length, size_t from, const char *needle, size_t n)
{
    if (from > length)
        return SIZE_MAX;
    if (n == 0)
        return from;
    const char *p = memmem(hay + from, length - from, needle, n);
    return p ? (size_t)(p - hay) : SIZE_MAX;
}
