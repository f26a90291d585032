/* The tasks. Each makes one problem: the prompt, the answer, and an identity that does not change
 * with phrasing or with an order that does not matter. */
#include <stdlib.h>
#include <string.h>

#include "train/tasks.h"

enum { MOST_NUMBERS = 20 };

/* ---- helpers ------------------------------------------------------------------------------------- */

static long power_of_ten(long n)
{
    long x = 1;
    while (n-- > 0)
        x *= 10;
    return x;
}

/* A number of exactly `digits` digits; of one digit: 1 to 9. */
static long number_of(task_rng *rng, long digits)
{
    return task_between(rng, power_of_ten(digits - 1), power_of_ten(digits) - 1);
}

/* Number of digits between min_digits (0: the same as digits) and digits. */
static long some_digits(task_rng *rng, long digits, long min_digits)
{
    return min_digits == 0 || min_digits >= digits ? digits : task_between(rng, min_digits, digits);
}

static int ascending(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

static void put_list(strbuf *out, const long *x, long n, const char *between, const char *before_last)
{
    for (long i = 0; i < n; i++)
        strbuf_printf(out, "%s%ld", i == 0 ? "" : i == n - 1 ? before_last : between, x[i]);
}

static void put_sorted(strbuf *out, const long *x, long n)
{
    long sorted[MOST_NUMBERS];
    memcpy(sorted, x, (size_t)n * sizeof *x);
    qsort(sorted, (size_t)n, sizeof *sorted, ascending);
    put_list(out, sorted, n, ", ", ", ");
}

static void ask_for_value(task_problem *p, const char *expression, int phrasing)
{
    static const char *const ways[] = {"What is %s?", "Calculate %s.", "%s = ?"};
    strbuf_printf(&p->prompt, ways[phrasing], expression);
}

/* n different numbers of the given digits; NULL when there are not so many. */
static const char *different_numbers(long *x, long n, long digits, task_rng *rng)
{
    if (n > power_of_ten(digits) - power_of_ten(digits - 1))
        return "there are not so many different numbers of so few digits";
    for (long i = 0; i < n;) {
        x[i] = number_of(rng, digits);
        long j = 0;
        while (x[j] != x[i])
            j++;
        i += j == i;
    }
    return NULL;
}

/* ---- arithmetic ------------------------------------------------------------------------------------ */

static const char *make_addition(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    long x[MOST_NUMBERS], sum = 0;
    for (long i = 0; i < v[1]; i++)
        sum += x[i] = number_of(rng, some_digits(rng, v[0], v[2]));
    strbuf e = STRBUF_INIT;
    put_list(&e, x, v[1], " + ", " + ");
    ask_for_value(p, strbuf_text(&e), phrasing);
    strbuf_deinit(&e);
    strbuf_printf(&p->answer, "%ld", sum);
    put_sorted(&p->identity, x, v[1]);
    return NULL;
}

static const char *make_subtraction(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    long a = number_of(rng, some_digits(rng, v[0], v[2])), b = number_of(rng, some_digits(rng, v[0], v[2]));
    if (a < b && !v[1]) {
        long swapped = a;
        a = b;
        b = swapped;
    }
    strbuf_printf(&p->identity, "%ld - %ld", a, b);
    ask_for_value(p, strbuf_text(&p->identity), phrasing);
    strbuf_printf(&p->answer, "%ld", a - b);
    return NULL;
}

static const char *make_multiplication(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    if (v[1] > v[0])
        return "min is larger than max";
    long a = task_between(rng, v[1], v[0]), b = task_between(rng, v[1], v[0]);
    char expression[64];
    snprintf(expression, sizeof expression, v[2] ? "%ld * %ld" : "%ld × %ld", a, b);
    ask_for_value(p, expression, phrasing);
    strbuf_printf(&p->answer, "%ld", a * b);
    strbuf_printf(&p->identity, "%ld %ld", a < b ? a : b, a < b ? b : a);
    return NULL;
}

static const char *make_division(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    long divisor = task_between(rng, 2, v[1]), quotient = task_between(rng, 1, v[0]);
    char expression[64];
    snprintf(expression, sizeof expression, "%ld ÷ %ld", divisor * quotient, divisor);
    ask_for_value(p, expression, phrasing);
    strbuf_printf(&p->answer, "%ld", quotient);
    strbuf_puts(&p->identity, expression);
    return NULL;
}

static const char *make_remainder(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"What is the remainder when %ld is divided by %ld?", "What is %ld mod %ld?"};
    long n = task_between(rng, 1, v[0]), divisor = task_between(rng, 2, v[1]);
    strbuf_printf(&p->prompt, ways[phrasing], n, divisor);
    strbuf_printf(&p->answer, "%ld", n % divisor);
    strbuf_printf(&p->identity, "%ld %ld", n, divisor);
    return NULL;
}

static const char *make_digit_sum(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"What is the sum of the digits of %ld?", "Add up the digits of %ld."};
    long n = number_of(rng, v[0]), sum = 0;
    for (long rest = n; rest; rest /= 10)
        sum += rest % 10;
    strbuf_printf(&p->prompt, ways[phrasing], n);
    strbuf_printf(&p->answer, "%ld", sum);
    strbuf_printf(&p->identity, "%ld", n);
    return NULL;
}

static const char *make_sequence(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"What number comes next in the sequence %s?", "Continue the sequence with one number: %s"};
    long x[MOST_NUMBERS + 1], start = task_between(rng, 1, v[1]), step = task_between(rng, v[2] ? -v[1] : 1, v[1]);
    if (step == 0)
        step = 1;
    for (long i = 0; i <= v[0]; i++)
        x[i] = start + i * step;
    strbuf list = STRBUF_INIT;
    put_list(&list, x, v[0], ", ", ", ");
    strbuf_printf(&p->prompt, ways[phrasing], strbuf_text(&list));
    strbuf_printf(&p->answer, "%ld", x[v[0]]);
    strbuf_puts(&p->identity, strbuf_text(&list));
    strbuf_deinit(&list);
    return NULL;
}

/* ---- several numbers ---------------------------------------------------------------------------------- */

static const char *make_extreme(task_problem *p, const long *v, int phrasing, task_rng *rng, bool largest)
{
    static const char *const ways[] = {"What is the %s of the numbers %s?", "Which of these numbers is the %s: %s?"};
    long x[MOST_NUMBERS] = {0};
    const char *problem = different_numbers(x, v[0], v[1], rng);
    if (problem)
        return problem;
    long best = x[0];
    for (long i = 1; i < v[0]; i++)
        best = (x[i] > best) == largest ? x[i] : best;
    strbuf list = STRBUF_INIT;
    put_list(&list, x, v[0], ", ", phrasing == 0 ? " and " : ", ");
    strbuf_printf(&p->prompt, ways[phrasing], largest ? "largest" : "smallest", strbuf_text(&list));
    strbuf_printf(&p->answer, "%ld", best);
    put_sorted(&p->identity, x, v[0]);
    strbuf_deinit(&list);
    return NULL;
}

static const char *make_largest(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    return make_extreme(p, v, phrasing, rng, true);
}

static const char *make_smallest(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    return make_extreme(p, v, phrasing, rng, false);
}

static const char *make_sorting(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {
        "Sort the numbers %s from smallest to largest. Write the result as a list in round brackets, like (1, 2, 3).",
        "Put %s in ascending order, as a list in round brackets like (1, 2, 3)."};
    long x[MOST_NUMBERS] = {0};
    const char *problem = different_numbers(x, v[0], v[1], rng);
    if (problem)
        return problem;
    strbuf list = STRBUF_INIT;
    put_list(&list, x, v[0], ", ", ", ");
    strbuf_printf(&p->prompt, ways[phrasing], strbuf_text(&list));
    put_sorted(&p->identity, x, v[0]);
    strbuf_printf(&p->answer, "(%s)", strbuf_text(&p->identity));
    strbuf_deinit(&list);
    return NULL;
}

/* a and b in hundredths or the like, so that 9.9 and 9.11 meet. */
static const char *make_comparison(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"Which number is larger, %s or %s?", "Which is greater: %s or %s?"};
    long decimals[2], x[2], common = power_of_ten(v[1]);
    char text[2][48];
    do {
        for (int i = 0; i < 2; i++) {
            long whole = number_of(rng, v[0]);
            decimals[i] = v[1] ? task_between(rng, 1, v[1]) : 0;
            long part = decimals[i] ? number_of(rng, decimals[i]) : 0;
            x[i] = whole * common + part * power_of_ten(v[1] - decimals[i]);
            if (decimals[i])
                snprintf(text[i], sizeof text[i], "%ld.%ld", whole, part);
            else
                snprintf(text[i], sizeof text[i], "%ld", whole);
        }
    } while (x[0] == x[1]);
    int larger = x[1] > x[0];
    strbuf_printf(&p->prompt, ways[phrasing], text[0], text[1]);
    strbuf_puts(&p->answer, text[larger]);
    strbuf_printf(&p->identity, "%s %s", text[!larger], text[larger]);
    return NULL;
}

static const char *make_parity(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"Is the number %ld even or odd?", "Is %ld odd or even?"};
    long n = number_of(rng, v[0]);
    strbuf_printf(&p->prompt, ways[phrasing], n);
    strbuf_puts(&p->answer, n % 2 ? "odd" : "even");
    strbuf_printf(&p->identity, "%ld", n);
    return NULL;
}

static const char *make_base(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"Write the decimal number %ld in base %ld.", "What is %ld (decimal) in base %ld?"};
    long n = task_between(rng, v[0] < v[1] ? v[0] : v[1], v[1]);
    char digits[72], *d = digits + sizeof digits - 1;
    *d = 0;
    for (long rest = n; rest || !*d; rest /= v[0])
        *--d = "0123456789abcdef"[rest % v[0]];
    strbuf_printf(&p->prompt, ways[phrasing], n, v[0]);
    strbuf_puts(&p->answer, d);
    strbuf_printf(&p->identity, "%ld %ld", n, v[0]);
    return NULL;
}

/* ---- letters -------------------------------------------------------------------------------------------- */

static void put_word(strbuf *out, task_rng *rng, long made_up_length)
{
    if (made_up_length)
        task_made_up_word(out, rng, made_up_length);
    else
        strbuf_puts(out, task_word(rng));
}

static const char *make_letters(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"How many times does the letter \"%c\" appear in the word \"%s\"?",
                                       "Count the letter \"%c\" in \"%s\"."};
    strbuf word = STRBUF_INIT;
    put_word(&word, rng, v[0]);
    const char *text = strbuf_text(&word);
    /* three times out of four a letter of the word, else any letter */
    char letter = task_below(rng, 4) ? text[task_below(rng, strlen(text))] : (char)('a' + task_below(rng, 26));
    long n = 0;
    for (const char *c = text; *c; c++)
        n += *c == letter;
    strbuf_printf(&p->prompt, ways[phrasing], letter, text);
    strbuf_printf(&p->answer, "%ld", n);
    strbuf_printf(&p->identity, "%c %s", letter, text);
    strbuf_deinit(&word);
    return NULL;
}

static const char *make_reversal(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {"Write the word \"%s\" backwards.", "Reverse the letters of \"%s\"."};
    put_word(&p->identity, rng, v[0]);
    const char *text = strbuf_text(&p->identity);
    strbuf_printf(&p->prompt, ways[phrasing], text);
    for (size_t i = strlen(text); i > 0; i--)
        strbuf_putc(&p->answer, text[i - 1]);
    return NULL;
}

/* ---- form ------------------------------------------------------------------------------------------------- */

static const char *make_format(task_problem *p, const long *v, int phrasing, task_rng *rng)
{
    static const char *const ways[] = {
        "What is %ld + %ld? Write the answer between <answer> and </answer>.",
        "Compute %ld + %ld and give nothing but the result in the form <answer>result</answer>."};
    long a = number_of(rng, v[0]), b = number_of(rng, v[0]);
    strbuf_printf(&p->prompt, ways[phrasing], a, b);
    strbuf_printf(&p->answer, "%ld", a + b);
    strbuf_printf(&p->identity, "%ld %ld", a < b ? a : b, a < b ? b : a);
    return NULL;
}

/* ---- the table ---------------------------------------------------------------------------------------------- */

#define DIGITS(n) {"digits", n, 1, 15, "digits of each number"}
#define MIN_DIGITS {"min_digits", 0, 0, 15, "numbers of this many digits up to `digits`; 0: of `digits` digits alone"}
#define MADE_UP {"made_up", 0, 0, 40, "letters of a made-up word; 0: common English words"}

static const task tasks[] = {
    {"addition", "sums of whole numbers", "math", 3,
     {DIGITS(2), {"terms", 2, 2, MOST_NUMBERS, "numbers that are added"}, MIN_DIGITS}, make_addition},
    {"subtraction", "differences of whole numbers", "math", 3,
     {DIGITS(2), {"negative", 0, 0, 1, "1: results may be negative"}, MIN_DIGITS}, make_subtraction},
    {"multiplication", "products of two numbers", "math", 3,
     {{"max", 12, 1, 1000000000, "largest factor"}, {"min", 2, 0, 1000000000, "smallest factor"},
      {"star", 0, 0, 1, "1: written with * instead of ×"}}, make_multiplication},
    {"division", "divisions without remainder", "math", 3,
     {{"max", 12, 1, 1000000000, "largest quotient"}, {"divisor", 12, 2, 1000000000, "largest divisor"}}, make_division},
    {"remainder", "remainders of divisions", "math", 2,
     {{"max", 100, 1, 1000000000, "largest number"}, {"divisor", 10, 2, 1000000000, "largest divisor"}}, make_remainder},
    {"digit_sum", "the sum of a number's digits", "math", 2, {DIGITS(3)}, make_digit_sum},
    {"sequence", "the next number of an arithmetic sequence", "math", 2,
     {{"length", 4, 2, MOST_NUMBERS, "numbers shown"}, {"max", 20, 1, 1000000000, "largest first number and step"},
      {"falling", 0, 0, 1, "1: sequences may fall"}}, make_sequence},
    {"largest", "the largest of several numbers", "math", 2,
     {{"numbers", 4, 2, MOST_NUMBERS, "how many"}, DIGITS(2)}, make_largest},
    {"smallest", "the smallest of several numbers", "math", 2,
     {{"numbers", 4, 2, MOST_NUMBERS, "how many"}, DIGITS(2)}, make_smallest},
    {"comparison", "the larger of two numbers, with decimals if wanted (9.9 and 9.11)", "math", 2,
     {DIGITS(2), {"decimals", 0, 0, 3, "most decimals"}}, make_comparison},
    {"sorting", "numbers in ascending order", "math", 2,
     {{"numbers", 4, 2, MOST_NUMBERS, "how many"}, DIGITS(2)}, make_sorting},
    {"parity", "even or odd", "math", 2, {DIGITS(2)}, make_parity},
    {"base", "a number in another base", "math", 2,
     {{"base", 2, 2, 16, "the base"}, {"max", 255, 2, 1000000000, "largest number"}}, make_base},
    {"letters", "how often a letter occurs in a word", "math", 2, {MADE_UP}, make_letters},
    {"reversal", "a word backwards", "math", 2, {MADE_UP}, make_reversal},
    {"format", "a sum whose result has to stand between <answer> and </answer>", "math", 2, {DIGITS(1)}, make_format},
};

const task *tasks_all(size_t *count)
{
    *count = sizeof tasks / sizeof *tasks;
    return tasks;
}

const task *tasks_find(const char *name)
{
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}
