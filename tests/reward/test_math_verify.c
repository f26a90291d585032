/* The math verifier on pairs written for this test: each row says what two texts are to each other. */
#include <string.h>

#include "grpo/reward.h"
#include "support.h"

typedef struct pair {
    const char *gold, *response;
    grpo_math_verdict verdict;
} pair;

#define RIGHT GRPO_MATH_RIGHT
#define WRONG GRPO_MATH_WRONG
#define UNVERIFIABLE GRPO_MATH_UNVERIFIABLE

static void check_pairs(const pair *pairs, size_t n, const grpo_math_options *options)
{
    for (size_t i = 0; i < n; i++) {
        grpo_math_result result;
        grpo_error err;
        assert_ok(grpo_math_verify(options, pairs[i].gold, strlen(pairs[i].gold), pairs[i].response,
                                   strlen(pairs[i].response), &result, &err), err);
        if (result.verdict != pairs[i].verdict)
            fail_msg("gold '%s', response '%s': %s, not %s (%s; extracted '%s', read '%s' against '%s')", pairs[i].gold,
                     pairs[i].response, grpo_math_verdict_text(result.verdict), grpo_math_verdict_text(pairs[i].verdict),
                     result.reason, result.extracted, result.answer_parsed, result.gold_parsed);
    }
}

#define CHECK(...)                                                                                                    \
    do {                                                                                                              \
        static const pair pairs[] = {__VA_ARGS__};                                                                    \
        check_pairs(pairs, sizeof pairs / sizeof *pairs, NULL);                                                       \
    } while (0)

static void numbers(void **state)
{
    (void)state;
    CHECK({"81", "81", RIGHT}, {"81", "18", WRONG}, {"2,450", "\\boxed{2450}", RIGHT}, {"2450", "$2{,}450$", RIGHT},
          {"2450", "\\boxed{2,450,000}", WRONG}, {"$\\frac{5}{8}$", "\\boxed{0.625}", RIGHT}, {"$\\frac58$", "$5/8$", RIGHT},
          {"$2\\frac{3}{7}$", "\\boxed{\\frac{17}{7}}", RIGHT}, {"$2\\frac{3}{7}$", "\\boxed{\\frac{6}{7}}", WRONG},
          {"$0.\\overline{27}$", "$\\frac{3}{11}$", RIGHT}, {"$0.1\\overline{6}$", "$\\frac16$", RIGHT},
          {"$7.5\\%$", "$0.075$", RIGHT}, {"$7.5\\%$", "$0.75$", WRONG}, {"45", "\\boxed{45\\%}", RIGHT},
          {"$3.2\\times 10^{-4}$", "0.00032", RIGHT}, {"$3.2\\times 10^{-4}$", "3.2e-4", RIGHT},
          {"$10^{30}+1$", "$10^{30}$", WRONG}, {"$1/3$", "0.33", WRONG}, {"$1/3$", "0.33333333", RIGHT},
          {"$1/3$", "0.33333334", WRONG}, {"0.2", "0.2000001", WRONG}, {"$110_2$", "$6$", RIGHT}, {"$110_2$", "$110_3$", WRONG});
}

static void algebraic_numbers(void **state)
{
    (void)state;
    CHECK({"$\\sqrt{75}$", "$5\\sqrt3$", RIGHT}, {"$\\sqrt{75}$", "8.66", WRONG},
          {"$\\sqrt2+\\sqrt3$", "$\\sqrt{5+2\\sqrt6}$", RIGHT}, {"$\\sqrt2+\\sqrt3$", "$\\sqrt{5+2\\sqrt7}$", WRONG},
          {"$\\sqrt[3]{2+\\sqrt5}+\\sqrt[3]{2-\\sqrt5}$", "1", RIGHT}, {"$\\cos 72^\\circ$", "$\\frac{\\sqrt5-1}{4}$", RIGHT},
          {"$\\tan\\frac{\\pi}{8}$", "$\\sqrt2-1$", RIGHT}, {"$e^{i\\pi}$", "$-1$", RIGHT}, {"$(2+i)(3-2i)$", "$8-i$", RIGHT},
          {"$\\ln 12$", "$2\\ln 2+\\ln 3$", RIGHT}, {"$\\log_4 32$", "$\\frac52$", RIGHT}, {"$\\pi$", "3.14", WRONG},
          {"$\\pi$", "3.14159265", RIGHT}, {"$\\sqrt{2}$", "$\\sqrt{2.0000000000000000000000000001}$", WRONG});
}

static void expressions(void **state)
{
    (void)state;
    CHECK({"$(x-2)(x+5)$", "$x^2+3x-10$", RIGHT}, {"$(x-2)(x+5)$", "$x^2+3x+10$", WRONG},
          {"$\\frac{1}{x}+\\frac{1}{y}$", "$\\frac{x+y}{xy}$", RIGHT}, {"$\\sin^2 x$", "$1-\\cos^2 x$", RIGHT},
          {"$\\sin 2x$", "$2\\sin x\\cos x$", RIGHT}, {"$\\sin 2x$", "$2\\sin x$", WRONG}, {"$2^{x+1}$", "$2\\cdot2^x$", RIGHT},
          {"$\\sqrt{x^2}$", "$x$", WRONG}, {"$\\sqrt{x^2}$", "$|x|$", RIGHT}, {"$x$", "$y$", WRONG},
          {"$y=3x-2$", "$6x-2y=4$", RIGHT}, {"$y=3x-2$", "$6x-2y=5$", WRONG}, {"$x=7$", "7", RIGHT}, {"7", "$x=7$", RIGHT},
          {"$x+y=7$", "7", WRONG}, {"$\\sum_{k=1}^n k a_k$", "$\\sum_{j=1}^{n} a_j j$", RIGHT});
}

static void structures(void **state)
{
    (void)state;
    CHECK({"$(2,-1)$", "$(2, -1)$", RIGHT}, {"$(2,-1)$", "$(-1,2)$", WRONG}, {"$\\{3,1,2\\}$", "$1,2,3$", RIGHT},
          {"$\\{1,2\\}$", "$\\{1,2,3\\}$", WRONG}, {"$x>2$", "$(2,\\infty)$", RIGHT}, {"$x>2$", "$[2,\\infty)$", WRONG},
          {"$-3\\le x<4$", "$[-3,4)$", RIGHT}, {"$(-\\infty,1)\\cup(1,\\infty)$", "$x\\ne1$", RIGHT},
          {"$\\pm2$", "$-2,2$", RIGHT}, {"$\\pm2$", "$2$", WRONG}, {"$x=1\\pm\\sqrt3$", "$1+\\sqrt3, 1-\\sqrt3$", RIGHT},
          {"$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$", "$\\begin{bmatrix}1&2\\\\3&\\frac82\\end{bmatrix}$", RIGHT},
          {"$\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}$", "$\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}$", WRONG},
          {"$3:4$", "$6:8$", RIGHT}, {"$3:4$", "$4:3$", WRONG}, {"$\\text{odd}$", "The answer is odd.", RIGHT},
          {"$\\text{odd}$", "\\boxed{\\text{even}}", WRONG}, {"B", "\\boxed{\\text{(B)}}", RIGHT}, {"B", "\\boxed{A}", WRONG});
}

static void extraction(void **state)
{
    (void)state;
    CHECK({"12", "I first got \\boxed{10}. Wait, that is a mistake.\n\nSo \\boxed{12}", RIGHT},
          {"12", "\\boxed{12}. No, it is \\boxed{13}", WRONG}, {"12", "3 * 4 = 12\n#### 12", RIGHT}, {"12", "<answer>12</answer>", RIGHT},
          {"12", "Final Answer: The final answer is $12$. I hope it is correct.", RIGHT}, {"12", "A: 12", RIGHT},
          {"12", "There are 12 cats and 5 dogs, so there are 17 animals.", WRONG}, {"12", "It is 12 or 13.", WRONG},
          {"12", "", WRONG}, {"12", "\\boxed{}", WRONG}, {"12", "\\boxed{12", WRONG}, {"12", "I do not know.", WRONG},
          {"She sold 5 + 7 = <<5+7=12>>12 clips.\n#### 12", "She sold 12 clips", RIGHT}, {"12", "She earns $12 a day.", RIGHT});
}

/* Work that would take for ever ends at once. */
static void words_beside_answers(void **state)
{
    (void)state;
    CHECK({"14", "Answer \\( (5+9) \\)", RIGHT}, {"14", "Result \\[14\\]", RIGHT}, {"14", "area \\(14\\) cm", RIGHT},
          {"14", "14 \\( \\text{cm} \\)", RIGHT}, {"14", "I think it's 14", RIGHT}, {"14", "It isn't 14 but 15", WRONG},
          {"B", "(B) and (C)", WRONG}, {"B,C", "(C) and (B)", RIGHT}, {"B", "B, C", WRONG}, {"B", "(B) 12, 13", RIGHT});
}

static void notations(void **state)
{
    (void)state;
    CHECK({"$\\ln 5$", "$\\log_e 5$", RIGHT}, {"$\\ln 5$", "$\\log_{10} 5$", WRONG}, {"$9:00$", "9:00", RIGHT}, {"$9:00$", "9:30", WRONG},
          {"$2.5\\times10^{-4}$", "2.5x10^-4", RIGHT}, {"$2.5\\times10^{-4}$", "2.5 x 10^{-4}", RIGHT}, {"$3x\\cdot10$", "3x10", RIGHT},
          {"123456789", "$123,\\! 456,\\! 789$", RIGHT}, {"$\\frac{9}{7}$", "1.285714", WRONG}, {"$\\frac{9}{7}$", "1.2857143", RIGHT},
          {"$8 = 3a+b$", "$3a+b$", WRONG}, {"5", "$5=x$", RIGHT});
}

static void bounded_work(void **state)
{
    (void)state;
    CHECK({"42", "\\boxed{9^{9^{9^{9^9}}}}", UNVERIFIABLE}, {"42", "\\boxed{(10^{9})!}", UNVERIFIABLE},
          {"42", "\\boxed{10^{1000000000}}", WRONG}, {"$9^{9^{9^{9}}}$", "$9^{9^{9^{9}}}$", RIGHT},
          {"42", "\\boxed{1e999999999}", WRONG}, {"42", "\\boxed{\\frac{42}{0}}", WRONG});
}

static void options_change_rules(void **state)
{
    (void)state;
    grpo_math_options options = GRPO_MATH_OPTIONS_DEFAULT;
    options.decimal_places = 2;
    const pair two_places[] = {{"$\\frac13$", "0.33", RIGHT}, {"$\\frac13$", "0.34", WRONG}};
    check_pairs(two_places, 2, &options);
    options = (grpo_math_options)GRPO_MATH_OPTIONS_DEFAULT;
    options.from = GRPO_MATH_FROM_BOX;
    const pair box_only[] = {{"4", "\\boxed{4}", RIGHT}, {"4", "The answer is 4.", WRONG}};
    check_pairs(box_only, 2, &options);
    options = (grpo_math_options)GRPO_MATH_OPTIONS_DEFAULT;
    options.partial = 1;
    grpo_math_result result;
    grpo_error err;
    assert_ok(grpo_math_verify(&options, "$\\{1,2,3,4\\}$", 13, "$\\{1,2,3\\}$", 11, &result, &err), err);
    assert_int_equal(result.verdict, WRONG);
    assert_float_equal(result.score, 0.75, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers), cmocka_unit_test(algebraic_numbers), cmocka_unit_test(expressions),
        cmocka_unit_test(structures), cmocka_unit_test(extraction), cmocka_unit_test(words_beside_answers), cmocka_unit_test(notations), cmocka_unit_test(bounded_work),
        cmocka_unit_test(options_change_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
