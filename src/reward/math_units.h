/* Units of measurement: which words are units, and what they are worth. */
#ifndef REWARD_MATH_UNITS_H
#define REWARD_MATH_UNITS_H

#include <stddef.h>

#include "reward/flint.h"

/* Exponents of the base dimensions: length, mass, time, money, angle, temperature, count. */
enum { MATH_DIMENSIONS = 8 };

typedef struct math_unit {
    int known;                        /* every word of it is in the table */
    signed char power[MATH_DIMENSIONS];
    fmpq_t scale;                     /* to the dimension's reference unit */
} math_unit;

/* Whether a single word is a unit ("cm", "hours", "square"). */
int math_is_unit(const char *word, size_t length);

/* Whether a single word is a unit or a factor word ("square", "cubic", "per"). */
void math_unit_init(math_unit *unit);
void math_unit_clear(math_unit *unit);

/* Reads a unit expression such as "cm^2", "square metres", "km/h", "miles per hour". */
void math_unit_read(math_unit *unit, const char *text);

#endif
