/* Properties that the math verifier has whatever the values: reflexive, symmetric, stable under white space and under
 * spellings of LaTeX that mean the same, right about random algebra. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "base/strbuf.h"
#include "grpo/reward.h"
#include "support.h"

/* Different values of every kind, each written without spaces. */
static const char *const values[] = {
    "7", "-7", "\\frac{3}{8}", "-\\frac{3}{8}", "2\\frac{1}{3}", "0.05", "1{,}234{,}567", "1.2\\times10^{-3}", "2^{100}",
    "\\sqrt{2}", "2\\sqrt{3}", "\\sqrt[3]{5}", "\\frac{1+\\sqrt{5}}{2}", "\\sqrt{5+2\\sqrt{6}}", "\\pi", "\\frac{\\pi}{6}", "e^{2}",
    "\\ln(2)", "\\log_{2}(3)", "\\sin(1)", "\\cos(72^{\\circ})", "3+4i", "3-4i", "e^{i\\pi/3}", "|x-1|", "x^{2}+1", "(x+1)(x-2)",
    "\\frac{x+1}{x-1}", "x+y", "xy", "x^{y}", "\\sin(x)", "a_{1}+b", "n!", "\\binom{n}{2}", "y=2x+1", "x^{2}+y^{2}=4", "x>3",
    "x\\ge3", "1<x\\le5", "x\\ne2", "(0,1)", "[0,1)", "(-\\infty,3]", "[0,1]\\cup[2,3]", "\\{1,2,3\\}", "\\{1,2\\}", "\\emptyset",
    "1\\pm\\sqrt{2}", "(1,2,3)", "(3,2,1)", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}",
    "7:32", "12:00", "204_{5}", "\\text{even}", "\\text{(B)}", "15\\text{ cm}^{2}", "\\infty", "-\\infty",
};

enum { VALUES = sizeof values / sizeof *values };

static grpo_math_verdict verdict(const char *gold, const char *response)
{
    grpo_math_result result;
    grpo_error err;
    assert_ok(grpo_math_verify(NULL, gold, strlen(gold), response, strlen(response), &result, &err), err);
    return result.verdict;
}

static void wrapped(char out[256], const char *before, const char *text, const char *after)
{
    snprintf(out, 256, "%s%s%s", before, text, after);
}

static void reflexive(void **state)
{
    static const char *const frames[][2] = {
        {"$", "$"}, {"\\(", "\\)"}, {"\\[ ", " \\]"}, {"\\boxed{", "}"}, {"The answer is $", "$."}, {"<think>No: $5$?</think> \\boxed{", "}"},
        {"Final Answer: The final answer is $", "$. I hope it is correct."}, {"<answer>$", "$</answer>"}, {"**Answer:** \\(", "\\)"},
        {"so that \\[\\boxed{\\displaystyle ", "}.\\]"}};
    char gold[256], response[256];
    (void)state;
    for (int i = 0; i < VALUES; i++)
        for (size_t k = 0; k < sizeof frames / sizeof *frames; k++) {
            wrapped(gold, "$", values[i], "$");
            wrapped(response, frames[k][0], values[i], frames[k][1]);
            if (verdict(gold, response) != GRPO_MATH_RIGHT)
                fail_msg("%s is not itself in %s", gold, response);
        }
}

/* All values are different, and it does not matter which of two is the reference. */
static void different_both_ways(void **state)
{
    char a[256], b[256];
    (void)state;
    for (int i = 0; i < VALUES; i++)
        for (int k = 0; k < i; k++) {
            wrapped(a, "$", values[i], "$");
            wrapped(b, "$", values[k], "$");
            if (verdict(a, b) == GRPO_MATH_RIGHT || verdict(b, a) == GRPO_MATH_RIGHT)
                fail_msg("%s and %s are taken as equal", a, b);
        }
}

/* Copies a text with every occurrence of `word` replaced. */
static void replaced(char out[512], const char *text, const char *word, const char *by)
{
    strbuf s = STRBUF_INIT;
    for (const char *at; (at = strstr(text, word)); text = at + strlen(word)) {
        strbuf_append(&s, text, (size_t)(at - text));
        strbuf_puts(&s, by);
    }
    strbuf_puts(&s, text);
    snprintf(out, 512, "%s", strbuf_text(&s));
    strbuf_deinit(&s);
}

static void other_spellings(void **state)
{
    static const char *const spellings[][2] = {
        {"\\frac", "\\dfrac"}, {"\\frac", "\\tfrac"}, {"\\frac", "\\cfrac"}, {"(", "\\left("}, {"+", " + "}, {"-", " - "}, {"=", " = "},
        {",", ", "}, {",", ",\\, "}, {"<", " < "}, {"\\le", "\\leq "}, {"\\ge", "\\geq "}, {"\\ne", "\\neq "}, {"\\emptyset", "\\varnothing"},
        {"pmatrix", "bmatrix"}, {"\\times", "\\cdot "}, {"i\\pi", "\\pi i"}, {"\\circ", " \\circ "}, {"\\text", "\\textbf"}, {"\\text", "\\mathrm"},
        {"xy", "x \\cdot y"}, {"xy", "yx"}, {"{,}", ","}, {"{,}", ",\\!"}, {"\\cup", " \\cup "}, {"&", " & "}, {"\\\\", " \\\\ "},
        {"\\sin(", "\\sin \\left("}, {"\\pm", " \\pm "}, {"\\{", "\\left\\{"}, {"1+", "1\\,+\\,"}, {"\\binom", "\\dbinom"}, {"e^", "\\mathrm{e}^"},
        {"4i", "4\\mathrm{i}"}, {"^{2}", "^2"}, {"\\sqrt{2}", "\\sqrt2"}, {"\\sqrt{2}", "\\sqrt 2"}, {"_{1}", "_1"}, {"(B)", "B"}};
    char gold[256], changed[512], closed[512], response[600];
    (void)state;
    for (int i = 0; i < VALUES; i++)
        for (size_t k = 0; k < sizeof spellings / sizeof *spellings; k++) {
            replaced(changed, values[i], spellings[k][0], spellings[k][1]);
            if (strcmp(changed, values[i]) == 0 || strncmp(values[i], "12:", 3) == 0)
                continue;
            if (strstr(values[i], "{,}") && spellings[k][0][0] == ',')
                continue; /* a comma inside a number */
            if ((strchr("([", values[i][0]) || strstr(values[i], "text{(")) && strcmp(spellings[k][0], "(") == 0)
                continue; /* half-open brackets need a partner of their own kind */
            replaced(closed, changed, ")", strstr(changed, "\\left(") ? "\\right)" : ")");
            if (strstr(closed, "\\left\\{"))
                replaced(changed, closed, "\\}", "\\right\\}");
            else
                strcpy(changed, closed);
            wrapped(gold, "$", values[i], "$");
            snprintf(response, sizeof response, "$%s$", changed);
            if (verdict(gold, response) != GRPO_MATH_RIGHT)
                fail_msg("%s is not %s", gold, response);
        }
}

static int draw(uint64_t *index, int low, int high)
{
    return low + (int)rng_below(11, 22, index, (uint64_t)(high - low + 1));
}

/* (ax + b)(cx + d)(x + e), expanded; and with one coefficient off by one. */
static void random_polynomials(void **state)
{
    uint64_t index = 0;
    (void)state;
    for (int i = 0; i < 300; i++) {
        int a = draw(&index, 1, 9), b = draw(&index, -20, 20), c = draw(&index, 1, 9), d = draw(&index, -20, 20), e = draw(&index, -9, 9);
        int x3 = a * c, x2 = a * d + b * c + a * c * e, x1 = b * d + (a * d + b * c) * e, x0 = b * d * e;
        char factored[256], expanded[256], wrong[256];
        snprintf(factored, sizeof factored, "$(%dx%+d)\\left(%+d%+dx\\right)(x%+d)$", a, b, d, c, e);
        snprintf(expanded, sizeof expanded, "$%+dx^2%+dx^{3}%+d%+dx$", x2, x3, x0, x1);
        snprintf(wrong, sizeof wrong, "$%+dx^2%+dx^{3}%+d%+dx$", x2 + (i % 3 == 0), x3, x0 + (i % 3 == 1), x1 + (i % 3 == 2));
        assert_int_equal(verdict(factored, expanded), GRPO_MATH_RIGHT);
        assert_int_equal(verdict(expanded, factored), GRPO_MATH_RIGHT);
        assert_int_equal(verdict(factored, wrong), GRPO_MATH_WRONG);
        assert_int_equal(verdict(wrong, factored), GRPO_MATH_WRONG);
    }
}

/* a/b written as p/q of its multiple, as a decimal where it is finite, and beside its neighbours. */
static void random_rationals(void **state)
{
    uint64_t index = 1000000;
    (void)state;
    for (int i = 0; i < 500; i++) {
        int a = draw(&index, -999, 999), k = draw(&index, 2, 30), b = draw(&index, 1, 3) == 1 ? 1 << draw(&index, 0, 6) : draw(&index, 2, 99);
        char gold[64], multiple[64], decimal[64], near[64];
        snprintf(gold, sizeof gold, "$\\frac{%d}{%d}$", a, b);
        snprintf(multiple, sizeof multiple, "%d/%d", a * k, b * k);
        snprintf(near, sizeof near, "\\boxed{\\frac{%d}{%d}}", a * k + 1, b * k);
        assert_int_equal(verdict(gold, multiple), GRPO_MATH_RIGHT);
        assert_int_equal(verdict(gold, near), GRPO_MATH_WRONG);
        if ((b & (b - 1)) == 0) {
            snprintf(decimal, sizeof decimal, "\\boxed{%.6f}", (double)a / b);
            assert_int_equal(verdict(gold, decimal), GRPO_MATH_RIGHT);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reflexive),          cmocka_unit_test(different_both_ways), cmocka_unit_test(other_spellings),
        cmocka_unit_test(random_polynomials), cmocka_unit_test(random_rationals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
