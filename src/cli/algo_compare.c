/* |got - expected| <= atol + rtol |expected|; what is not finite must be the same. */
#include <math.h>
#include <string.h>

#include "cli/algo_compare.h"

typedef struct comparison {
    double rtol, atol;
    strbuf *why;
    size_t differences; /* of numbers */
    size_t no_number;   /* where the reference is NaN, infinite or raises */
    char path[256];
} comparison;

#define SHOWN 3 /* differences written out for a case */

static int number_of(const json_t *value, double *x)
{
    if (json_is_number(value)) {
        *x = json_number_value(value);
        return 1;
    }
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    *x = strcmp(text, "NaN") == 0         ? NAN
         : strcmp(text, "Infinity") == 0  ? INFINITY
         : strcmp(text, "-Infinity") == 0 ? -INFINITY
                                          : 0;
    return *x != 0;
}

static void differ(comparison *c, int no_number, const char *format, double got, double expected)
{
    size_t *count = no_number ? &c->no_number : &c->differences;
    ++*count;
    if (c->differences + c->no_number > SHOWN)
        return;
    strbuf_printf(c->why, "%s%s: ", c->differences + c->no_number > 1 ? "; " : "", c->path);
    strbuf_printf(c->why, format, got, expected);
}

static void compare_numbers(comparison *c, double got, double expected)
{
    if (isnan(expected) ? isnan(got) : got == expected)
        return;
    if (isfinite(expected) && fabs(got - expected) <= c->atol + c->rtol * fabs(expected))
        return;
    differ(c, !isfinite(expected), "got %.17g, expected %.17g", got, expected);
}

static void compare_values(comparison *c, const json_t *got, const json_t *expected);

static void compare_entry(comparison *c, const char *key, const json_t *got, const json_t *expected)
{
    size_t length = strlen(c->path), room = sizeof c->path - length;
    snprintf(c->path + length, room, "%s%s", length ? "." : "", key);
    compare_values(c, got, expected);
    c->path[length] = 0;
}

static void compare_values(comparison *c, const json_t *got, const json_t *expected)
{
    double x = 0, y;
    if (json_is_object(expected)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)expected, key, value)
            compare_entry(c, key, json_object_get(got, key), value);
    } else if (json_is_array(expected)) {
        if (json_array_size(got) != json_array_size(expected)) {
            differ(c, 0, "has %g entries, expected %g", (double)json_array_size(got),
                   (double)json_array_size(expected));
            return;
        }
        for (size_t i = 0; i < json_array_size(expected); i++) {
            char index[24];
            snprintf(index, sizeof index, "%zu", i);
            compare_entry(c, index, json_array_get(got, i), json_array_get(expected, i));
        }
    } else if (!number_of(expected, &y) || !number_of(got, &x)) {
        differ(c, 0, got ? "is not a number" : "is missing", 0, 0);
    } else {
        compare_numbers(c, x, y);
    }
}

static double tolerance_of(const json_t *test, const char *key)
{
    return json_number_value(json_object_get(json_object_get(test, "tolerance"), key));
}

algo_verdict algo_compare_case(const json_t *test, const json_t *got, strbuf *why)
{
    const json_t *expected = json_object_get(test, "expected");
    int quirk = json_is_true(json_object_get(test, "quirk"));
    json_t *raises = json_object_get(expected, "raises"), *raised = json_object_get(got, "raises");
    if (!json_is_object(expected)) {
        strbuf_puts(why, "the case has no `expected` to compare with");
        return ALGO_FAILED;
    }
    if (raises && raised)
        return ALGO_PASSED;
    if (raises) {
        strbuf_printf(why, "the reference raises %s, here it has a result",
                      json_is_string(raises) ? json_string_value(raises) : "an error");
        return quirk ? ALGO_ACCEPTED : ALGO_FAILED;
    }
    if (raised) {
        json_t *message = json_object_get(got, "message");
        strbuf_printf(why, "failed: %s",
                      json_is_string(message) ? json_string_value(message) : "no message");
        return ALGO_FAILED;
    }
    comparison c = {.rtol = tolerance_of(test, "rtol"), .atol = tolerance_of(test, "atol"),
                    .why = why};
    compare_values(&c, got, expected);
    size_t total = c.differences + c.no_number;
    if (total > SHOWN)
        strbuf_printf(why, "; and %zu more", total - SHOWN);
    if (total == 0)
        return ALGO_PASSED;
    return quirk && c.differences == 0 ? ALGO_ACCEPTED : ALGO_FAILED;
}
