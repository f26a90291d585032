/* grpo_math_verify: extraction, reading and comparison put together, with alternative readings where a
 * notation has two meanings. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "grpo/reward.h"
#include "reward/math_compare.h"
#include "reward/math_extract.h"
#include "reward/math_parse.h"

enum { MAX_RESPONSE = 1 << 18, WORK_UNITS = 20000000 };

/* FLINT keeps caches for each thread; they are freed when the thread ends. */
static pthread_key_t cleanup_key;
static pthread_once_t cleanup_once = PTHREAD_ONCE_INIT;
static int cleanup_made;

static void clean_thread(void *unused)
{
    (void)unused;
    flint_cleanup();
}

static void make_key(void)
{
    cleanup_made = pthread_key_create(&cleanup_key, clean_thread) == 0;
}

static void mark_thread(void)
{
    pthread_once(&cleanup_once, make_key);
    if (cleanup_made && !pthread_getspecific(cleanup_key))
        pthread_setspecific(cleanup_key, &cleanup_key);
}

const char *grpo_math_verdict_text(grpo_math_verdict verdict)
{
    return verdict == GRPO_MATH_RIGHT ? "right" : verdict == GRPO_MATH_WRONG ? "wrong" : "unverifiable";
}

/* ---- one side --------------------------------------------------------------------------- */

typedef struct side {
    math_extract extract;
    math_node *node;
    const char *problem; /* why it cannot be read */
    int grouped;
} side;

static void copy_text(char *out, math_slice s)
{
    size_t n = s.length < GRPO_MATH_TEXT - 1 ? s.length : GRPO_MATH_TEXT - 1;
    while (n && n < s.length && ((unsigned char)s.data[n] & 0xC0) == 0x80)
        n--;
    if (n)
        memcpy(out, s.data, n);
    out[n] = 0;
}

/* Deep trees would make the recursive functions deep: refused. */
static int is_deep(const math_node *node, int limit)
{
    if (limit == 0)
        return 1;
    for (unsigned i = 0; i < node->count; i++)
        if (node->args[i] && is_deep(node->args[i], limit - 1))
            return 1;
    return 0;
}

static math_node *read_piece(math_tree *tree, math_slice piece, unsigned flags, int *grouped)
{
    math_node *node = math_parse(tree, piece, flags, grouped);
    if (node && is_deep(node, 400)) {
        tree->problem = "the expression is nested too deeply";
        return NULL;
    }
    return node;
}

static math_node *read_side(math_tree *tree, side *s, unsigned flags)
{
    const math_extract *e = &s->extract;
    s->node = NULL;
    s->grouped = 0;
    flags |= e->plain ? MATH_LEX_PLAIN : 0;
    if (e->count == 1)
        s->node = read_piece(tree, e->pieces[0], flags, &s->grouped);
    math_node *list = e->count > 1 ? math_node_new(tree, MATH_LIST, (unsigned)e->count) : NULL;
    for (int i = 0; list && i < e->count; i++)
        if (!(list->args[i] = read_piece(tree, e->pieces[i], flags, NULL)))
            list = NULL;
    if (e->count > 1)
        s->node = list;
    s->problem = s->node ? NULL : tree->problem ? tree->problem : "it cannot be read";
    return s->node;
}

/* ---- notations with two meanings --------------------------------------------------------- */

/* "1,22": a decimal comma when the text is nothing else. */
static math_node *read_decimal_comma(math_tree *tree, const math_extract *e)
{
    if (e->count != 1 || !e->plain || e->pieces[0].length > 30)
        return NULL;
    math_slice s = math_text_trim(e->pieces[0]);
    char text[32];
    size_t commas = 0, after = 0;
    for (size_t i = 0; i < s.length; i++) {
        text[i] = s.data[i] == ',' ? '.' : s.data[i];
        commas += s.data[i] == ',';
        after = s.data[i] == ',' ? 0 : after + 1;
        if (!math_text_is_digit(s.data[i]) && s.data[i] != ',' && !(i == 0 && s.data[i] == '-'))
            return NULL;
    }
    if (commas != 1 || after == 3 || after == 0 || s.data[0] == ',')
        return NULL;
    const char *kept = math_tree_text(tree, text, s.length);
    return kept ? math_parse(tree, (math_slice){kept, s.length}, MATH_LEX_PLAIN, NULL) : NULL;
}

/* The letter of "(C)", "C.", "\text{C}", "(C) 12"; *rest gets what follows it. 0 when there is none. */
static char choice_letter(math_slice s, math_slice *rest)
{
    s = math_text_trim(s);
    static const char *const heads[] = {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\textrm{"};
    size_t depth = 0;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        if (s.length > strlen(heads[i]) && memcmp(s.data, heads[i], strlen(heads[i])) == 0) {
            s.data += strlen(heads[i]);
            s.length -= strlen(heads[i]);
            depth = 1;
            break;
        }
    s = math_text_trim(s);
    int bracket = s.length && (s.data[0] == '(' || s.data[0] == '[');
    size_t at = (size_t)bracket;
    if (at >= s.length || s.data[at] < 'A' || s.data[at] > 'J')
        return 0;
    char letter = s.data[at++];
    if (bracket && (at >= s.length || (s.data[at] != ')' && s.data[at] != ']')))
        return 0;
    at += (size_t)bracket;
    int mark = bracket || depth;
    while (at < s.length && strchr(")}.: ~", s.data[at])) {
        mark |= s.data[at] == ')' || s.data[at] == '.' || s.data[at] == ':';
        at++;
    }
    *rest = (math_slice){s.data + at, s.length - at};
    return at == s.length || mark ? letter : 0;
}

/* "(A) and (B)", "A, C": what follows the first letter is another one. */
static int several_choices(math_slice rest)
{
    static const char *const joins[] = {"and ", "or ", ",", ";", "&"};
    math_slice ignored;
    rest = math_text_trim(rest);
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++)
        if (math_text_starts(rest, joins[i])) {
            size_t n = strlen(joins[i]);
            return choice_letter((math_slice){rest.data + n, rest.length - n}, &ignored) != 0;
        }
    return 0;
}

/* 1 when letters decide, with the verdict. */
static int compare_choices(math_slice gold, math_slice answer, math_slice *answer_rest, math_answer *verdict)
{
    math_slice gold_rest, rest = {NULL, 0};
    char g = choice_letter(gold, &gold_rest), a = choice_letter(answer, &rest);
    *answer_rest = (math_slice){NULL, 0};
    if ((g && several_choices(gold_rest)) || (a && several_choices(rest)))
        return 0;
    if (g && a && (gold_rest.length == 0 || rest.length == 0)) {
        *verdict = g == a ? MATH_YES : MATH_NO;
        return 1;
    }
    if (!g && a && rest.length)
        *answer_rest = rest;
    return 0;
}

/* Texts that are the same but for spacing and LaTeX's sizes of brackets and fractions. */
static int same_text(math_slice a, math_slice b)
{
    static const char *const skipped[] = {"\\left", "\\right", "\\,", "\\!", "\\;", "\\displaystyle"};
    size_t i = 0, j = 0;
    for (;;) {
        for (int second = 0; second < 2; second++) {
            math_slice s = second ? b : a;
            size_t *at = second ? &j : &i;
            for (int again = 1; again;) {
                again = 0;
                while (*at < s.length && math_text_is_space(s.data[*at]))
                    (*at)++, again = 1;
                for (size_t k = 0; k < sizeof skipped / sizeof *skipped; k++) {
                    size_t n = strlen(skipped[k]);
                    if (s.length - *at >= n && memcmp(s.data + *at, skipped[k], n) == 0 &&
                        !(n > 2 && s.length - *at > n && math_text_is_letter(s.data[*at + n])))
                        *at += n, again = 1;
                }
            }
        }
        if (i >= a.length || j >= b.length)
            return i >= a.length && j >= b.length;
        if (a.data[i++] != b.data[j++])
            return 0;
    }
}

/* ---- the verification ----------------------------------------------------------------------- */

typedef struct verification {
    math_tree tree;
    math_context ctx;
    side gold, answer;
} verification;

static mp_limb_t seed_of(math_slice a, math_slice b)
{
    mp_limb_t h = 0xCBF29CE484222325u;
    for (size_t i = 0; i < a.length; i++)
        h = (h ^ (unsigned char)a.data[i]) * 0x100000001B3u;
    for (size_t i = 0; i < b.length && i < 4096; i++)
        h = (h ^ (unsigned char)b.data[i]) * 0x100000001B3u;
    return h;
}

static math_answer compare_nodes(verification *v, math_node *gold, math_node *answer)
{
    v->ctx.share = -1;
    v->ctx.depth = 0;
    return math_equal(&v->ctx, gold, answer);
}

/* Readings beside the first one; MATH_NO when none of them agrees. */
static math_answer compare_other_readings(verification *v, math_slice answer_rest)
{
    math_tree *tree = &v->tree;
    side other;
    if (answer_rest.length) { /* "(C) 12" for the reference 12 */
        other = v->answer;
        other.extract.pieces[0] = answer_rest;
        if (read_side(tree, &other, 0) && compare_nodes(v, v->gold.node, other.node) == MATH_YES)
            return MATH_YES;
    }
    if (v->gold.grouped != v->answer.grouped) { /* 100,200 as a list */
        other = v->gold.grouped ? v->gold : v->answer;
        if (read_side(tree, &other, MATH_LEX_LISTS)) {
            math_node *g = v->gold.grouped ? other.node : v->gold.node, *a = v->gold.grouped ? v->answer.node : other.node;
            if (compare_nodes(v, g, a) == MATH_YES)
                return MATH_YES;
        }
    }
    if (v->answer.extract.exact.length) {
        other = v->answer;
        other.extract.pieces[0] = v->answer.extract.exact;
        if (read_side(tree, &other, 0) && math_is_rounding(&v->ctx, v->answer.node, other.node, 0) &&
            compare_nodes(v, v->gold.node, other.node) == MATH_YES)
            return MATH_YES;
    }
    math_node *gold_comma = read_decimal_comma(tree, &v->gold.extract), *answer_comma = read_decimal_comma(tree, &v->answer.extract);
    if (gold_comma && compare_nodes(v, gold_comma, v->answer.node) == MATH_YES)
        return MATH_YES;
    if (answer_comma && compare_nodes(v, v->gold.node, answer_comma) == MATH_YES)
        return MATH_YES;
    return MATH_NO;
}

static math_answer judge(verification *v)
{
    math_answer verdict;
    math_slice rest = {NULL, 0};
    side *g = &v->gold, *a = &v->answer;
    if (g->extract.count == 1 && a->extract.count == 1 && compare_choices(g->extract.pieces[0], a->extract.pieces[0], &rest, &verdict)) {
        v->ctx.reason = verdict == MATH_YES ? "the same choice" : "another choice";
        return verdict;
    }
    int same = g->extract.count == 1 && a->extract.count == 1 && same_text(g->extract.pieces[0], a->extract.pieces[0]);
    if (!g->node) {
        v->ctx.reason = same && !g->extract.words ? "the same text" : "the reference cannot be read";
        return same && !g->extract.words ? MATH_YES : MATH_UNKNOWN;
    }
    if (!a->node) {
        v->ctx.reason = a->problem;
        return MATH_UNKNOWN;
    }
    verdict = compare_nodes(v, g->node, a->node);
    if (verdict == MATH_YES)
        return verdict;
    const char *reason = v->ctx.reason;
    double share = v->ctx.share;
    if (compare_other_readings(v, rest) == MATH_YES)
        return MATH_YES;
    v->ctx.reason = reason;
    v->ctx.share = share;
    return verdict;
}

/* A sentence is no reference. */
static int is_prose(math_slice s)
{
    size_t spaces = 0;
    for (size_t i = 0; i + 1 < s.length; i++)
        spaces += s.data[i] == ' ' && math_text_is_letter(s.data[i + 1]);
    return spaces > 2 && !memchr(s.data, '\\', s.length);
}

static void verify(verification *v, math_slice gold, math_slice response, const grpo_math_options *options,
                   grpo_math_result *result)
{
    math_slice clean_gold = math_text_clean(&v->tree, gold), clean_response = math_text_clean(&v->tree, response);
    if (!clean_gold.data || !clean_response.data)
        return;
    math_extract_gold(&v->gold.extract, clean_gold);
    math_extract_answer(&v->answer.extract, clean_response, options->from);
    result->source = v->answer.extract.source;
    result->verdict = GRPO_MATH_UNVERIFIABLE;
    if (v->gold.extract.count == 0) {
        v->ctx.reason = "the reference is empty";
        return;
    }
    if (v->answer.extract.count == 0) {
        result->verdict = GRPO_MATH_WRONG;
        v->ctx.reason = v->answer.extract.problem;
        return;
    }
    v->gold.extract.words = v->gold.extract.count == 1 && v->gold.extract.plain && is_prose(v->gold.extract.pieces[0]);
    copy_text(result->extracted, v->answer.extract.pieces[0]);
    v->ctx.seed = seed_of(clean_gold, v->answer.extract.pieces[0]);
    if (!v->gold.extract.words && read_side(&v->tree, &v->gold, 0))
        math_node_print(v->gold.node, result->gold_parsed, sizeof result->gold_parsed);
    if (read_side(&v->tree, &v->answer, 0))
        math_node_print(v->answer.node, result->answer_parsed, sizeof result->answer_parsed);
    math_answer verdict = judge(v);
    result->verdict = verdict == MATH_YES ? GRPO_MATH_RIGHT : verdict == MATH_NO ? GRPO_MATH_WRONG : GRPO_MATH_UNVERIFIABLE;
}

grpo_status grpo_math_verify(const grpo_math_options *options, const char *gold, size_t gold_length,
                             const char *response, size_t response_length, grpo_math_result *result, grpo_error *err)
{
    static const grpo_math_options defaults = GRPO_MATH_OPTIONS_DEFAULT;
    if (!gold || !response || !result)
        return grpo_fail(err, GRPO_ERR_USAGE, "the math verifier needs a reference, a response and a place for the result");
    if (!options)
        options = &defaults;
    mark_thread();
    verification v;
    memset(&v, 0, sizeof v);
    math_tree_init(&v.tree);
    v.ctx.options = options;
    v.ctx.tree = &v.tree;
    v.ctx.budget.left = WORK_UNITS * (options->work > 0 ? options->work : 1);
    v.ctx.share = -1;
    v.ctx.reason = "";
    result->verdict = GRPO_MATH_UNVERIFIABLE;
    result->score = 0;
    result->source = "none";
    result->extracted[0] = result->gold_parsed[0] = result->answer_parsed[0] = result->reason[0] = 0;
    math_slice g = {gold, gold_length}, r = {response, response_length};
    if (r.length > MAX_RESPONSE) { /* the answer stands at the end */
        r.data += r.length - MAX_RESPONSE;
        r.length = MAX_RESPONSE;
    }
    if (g.length > MAX_RESPONSE)
        g.length = MAX_RESPONSE;
    verify(&v, g, r, options, result);
    int no_memory = v.tree.no_memory;
    snprintf(result->reason, sizeof result->reason, "%s", v.ctx.reason ? v.ctx.reason : "");
    result->score = result->verdict == GRPO_MATH_RIGHT ? 1.0 : 0.0;
    if (options->partial && result->verdict == GRPO_MATH_WRONG && v.ctx.share > 0)
        result->score = v.ctx.share;
    math_tree_deinit(&v.tree);
    return no_memory ? mem_fail(err, "the math verifier", 0) : GRPO_OK;
}
