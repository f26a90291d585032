/* Units of measurement: names, dimensions and exact factors to the reference units (metre, gram, second,
 * dollar, degree, kelvin, item, bit). */
#include <string.h>

#include "reward/math_text.h"
#include "reward/math_units.h"

enum { LENGTH, MASS, TIME, MONEY, ANGLE, HEAT, COUNT, NONE };

typedef struct unit_name {
    const char *name;
    unsigned char dimension;
    signed char power;
    long numerator, denominator;
} unit_name;

static const unit_name table[] = {
    {"m", LENGTH, 1, 1, 1}, {"meter", LENGTH, 1, 1, 1}, {"metre", LENGTH, 1, 1, 1},
    {"cm", LENGTH, 1, 1, 100}, {"centimeter", LENGTH, 1, 1, 100}, {"centimetre", LENGTH, 1, 1, 100},
    {"mm", LENGTH, 1, 1, 1000}, {"millimeter", LENGTH, 1, 1, 1000}, {"millimetre", LENGTH, 1, 1, 1000},
    {"dm", LENGTH, 1, 1, 10}, {"decimeter", LENGTH, 1, 1, 10}, {"km", LENGTH, 1, 1000, 1},
    {"kilometer", LENGTH, 1, 1000, 1}, {"kilometre", LENGTH, 1, 1000, 1}, {"nm", LENGTH, 1, 1, 1000000000},
    {"inch", LENGTH, 1, 254, 10000}, {"inche", LENGTH, 1, 254, 10000}, {"in", LENGTH, 1, 254, 10000}, {"ft", LENGTH, 1, 3048, 10000},
    {"foot", LENGTH, 1, 3048, 10000}, {"feet", LENGTH, 1, 3048, 10000}, {"yard", LENGTH, 1, 9144, 10000},
    {"yd", LENGTH, 1, 9144, 10000}, {"mile", LENGTH, 1, 1609344, 1000}, {"mi", LENGTH, 1, 1609344, 1000},
    {"g", MASS, 1, 1, 1}, {"gram", MASS, 1, 1, 1}, {"gm", MASS, 1, 1, 1}, {"kg", MASS, 1, 1000, 1},
    {"kilogram", MASS, 1, 1000, 1}, {"mg", MASS, 1, 1, 1000}, {"milligram", MASS, 1, 1, 1000},
    {"lb", MASS, 1, 45359237, 100000}, {"pound", MASS, 1, 45359237, 100000}, {"oz", MASS, 1, 45359237, 1600000},
    {"ounce", MASS, 1, 45359237, 1600000}, {"ton", MASS, 1, 1000000, 1}, {"tonne", MASS, 1, 1000000, 1},
    {"s", TIME, 1, 1, 1}, {"sec", TIME, 1, 1, 1}, {"second", TIME, 1, 1, 1}, {"ms", TIME, 1, 1, 1000},
    {"min", TIME, 1, 60, 1}, {"minute", TIME, 1, 60, 1}, {"h", TIME, 1, 3600, 1}, {"hr", TIME, 1, 3600, 1},
    {"hour", TIME, 1, 3600, 1}, {"day", TIME, 1, 86400, 1}, {"d", TIME, 1, 86400, 1}, {"week", TIME, 1, 604800, 1}, {"wk", TIME, 1, 604800, 1},
    {"mph", NONE, 2, 1609344, 3600000}, {"kph", NONE, 2, 1000, 3600},
    {"dollar", MONEY, 1, 1, 1}, {"usd", MONEY, 1, 1, 1}, {"buck", MONEY, 1, 1, 1}, {"cent", MONEY, 1, 1, 100},
    {"l", LENGTH, 3, 1, 1000}, {"liter", LENGTH, 3, 1, 1000}, {"litre", LENGTH, 3, 1, 1000},
    {"ml", LENGTH, 3, 1, 1000000}, {"milliliter", LENGTH, 3, 1, 1000000}, {"cc", LENGTH, 3, 1, 1000000},
    {"deg", ANGLE, 1, 1, 1}, {"degree", ANGLE, 1, 1, 1}, {"rev", ANGLE, 1, 360, 1}, {"dozen", COUNT, 1, 12, 1},
    {"acre", LENGTH, 2, 40468564224, 10000000}, {"hectare", LENGTH, 2, 10000, 1}, {"ha", LENGTH, 2, 10000, 1},
};

/* Words of measure whose worth is not in the table; they count as units, of unknown kind. */
static const char *const others[] = {
    "yuan", "rmb", "euro", "eur", "gbp", "yen", "rupee", "rs", "inr", "peso", "franc", "won", "month", "year", "yr", "square", "sq",
    "cubic", "cu", "unit", "radian", "rad", "newton", "n", "joule", "j", "kj", "watt", "w", "kw", "volt", "v", "ohm", "amp", "pascal",
    "pa", "kpa", "hz", "khz", "mhz", "mol", "mole", "k", "ev", "cal", "kcal", "gallon", "gal", "quart", "pint", "cup", "tablespoon", "teaspoon",
    "am", "pm", "a.m.", "p.m.", "percent", "people", "person", "student", "way", "apple", "book", "time", "item", "piece", "point", "degree",
    "celsius", "fahrenheit", "kmh", "bit", "byte", "mb", "gb", "knot", "pair", "penny", "pennie", "nickel", "dime", "quarter", "mol", "erg", "dyne", "au", "ly", "parsec",
};

static size_t without_plural(const char *word, size_t n)
{
    return n > 2 && (word[n - 1] == 's' || word[n - 1] == 'S') ? n - 1 : n;
}

static int same_word(const char *name, const char *word, size_t n)
{
    math_slice w = {word, n};
    return math_text_equals(w, name);
}

static const unit_name *find(const char *word, size_t n)
{
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++)
            if (same_word(table[i].name, word, n))
                return &table[i];
        if (without_plural(word, n) == n)
            break;
        n = without_plural(word, n);
    }
    return NULL;
}

static int is_other(const char *word, size_t n)
{
    for (int turn = 0; turn < 2; turn++) {
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (same_word(others[i], word, n))
                return 1;
        n = without_plural(word, n);
    }
    return 0;
}

int math_is_unit(const char *word, size_t length)
{
    return find(word, length) || is_other(word, length);
}

void math_unit_init(math_unit *unit)
{
    memset(unit, 0, sizeof *unit);
    fmpq_init(unit->scale);
    fmpq_one(unit->scale);
}

void math_unit_clear(math_unit *unit)
{
    fmpq_clear(unit->scale);
}

static void apply_unit(math_unit *unit, const unit_name *name, int power)
{
    fmpq_t factor;
    if (name->dimension == NONE) { /* a speed */
        unit->power[LENGTH] = (signed char)(unit->power[LENGTH] + power);
        unit->power[TIME] = (signed char)(unit->power[TIME] - power);
    } else {
        unit->power[name->dimension] = (signed char)(unit->power[name->dimension] + power * name->power);
    }
    fmpq_init(factor);
    fmpq_set_si(factor, name->numerator, (ulong)name->denominator);
    fmpq_pow_si(factor, factor, power);
    fmpq_mul(unit->scale, unit->scale, factor);
    fmpq_clear(factor);
}

/* A power after a unit: "^2", "^-1", " squared". */
static int read_power(const char **text)
{
    const char *s = *text;
    if (*s != '^')
        return 1;
    int negative = s[1] == '-';
    s += 1 + negative;
    if (*s < '1' || *s > '6')
        return 1;
    *text = s + 1;
    return negative ? '0' - *s : *s - '0';
}

void math_unit_read(math_unit *unit, const char *text)
{
    int sign = 1, area = 1, words = 0;
    unit->known = 1;
    while (*text) {
        size_t n = 0;
        while ((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z'))
            n++;
        if (n == 0) {
            sign = *text == '/' ? -1 : sign;
            if (*text != ' ' && *text != '/' && *text != '.')
                unit->known = 0;
            text++;
            continue;
        }
        const char *word = text;
        text += n;
        if (same_word("per", word, n)) {
            sign = -1;
            continue;
        }
        if (same_word("square", word, n) || same_word("sq", word, n) || same_word("cubic", word, n) || same_word("cu", word, n)) {
            area = word[0] == 's' || word[0] == 'S' ? 2 : 3;
            continue;
        }
        const unit_name *name = find(word, n);
        if (!name) {
            unit->known = 0;
            return;
        }
        apply_unit(unit, name, sign * area * read_power(&text));
        area = 1;
        words++;
    }
    if (!words || words > 4)
        unit->known = 0;
}
