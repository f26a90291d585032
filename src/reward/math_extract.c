/* Finds the answer in a response. The strong marks are \boxed, <answer>, #### and "final answer is"; the
 * last strong mark wins. Without one: the last "answer is" or "Answer:"; then a response that is nothing
 * but an answer; then the last formula or number. */
#include <string.h>

#include "grpo/reward.h"
#include "reward/math_find.h"

enum { TAIL = 8192 /* bytes at the end of a response in which its last number is looked for */ };

/* ---- tags and markers ---------------------------------------------------------------------------- */

static const char *find_last(const char *begin, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = end - n; p >= begin; p--)
        if (*p == *word && find_starts_ignoring_case(p, end, word))
            return p;
    return NULL;
}

static const char *find_tag(const finder *f, math_slice *content)
{
    const char *close = (size_t)(f->end - f->begin) >= 9 ? find_last(f->begin, f->end, "</answer>") : NULL;
    const char *open = close ? find_last(f->begin, close, "<answer>") : NULL;
    if (!open || open + 8 > close)
        return NULL;
    *content = math_slice_between(open + 8, close);
    return open;
}

static const char *find_marker(const finder *f, math_slice *content)
{
    const char *mark = f->end - f->begin >= 4 ? find_last(f->begin, f->end, "####") : NULL;
    if (!mark)
        return NULL;
    const char *p = mark + 4;
    while (p < f->end && (*p == ' ' || *p == '\t'))
        p++;
    const char *stop = p;
    while (stop < f->end && *stop != '\n')
        stop++;
    *content = find_strip_markup(math_slice_between(p, stop));
    return content->length ? mark : NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

/* Cuts reasoning in front and what follows the end of the turn. */
static void frame_response(finder *f)
{
    static const char *const ends[] = {"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|im_start|>", "</s>", "<|end|>", "<end_of_turn>"};
    const char *think = f->end - f->begin >= 8 ? find_last(f->begin, f->end, "</think>") : NULL;
    if (think && math_text_trim(math_slice_between(think + 8, f->end)).length)
        f->begin = think + 8;
    for (const char *p = f->begin; p < f->end && (p = memchr(p, '<', (size_t)(f->end - p))) != NULL; p++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
            if (find_starts(p, f->end, ends[i]) && math_text_trim(math_slice_between(f->begin, p)).length) {
                f->end = p;
                return;
            }
}

static void use_slice(math_extract *out, math_slice s, const char *source)
{
    const char *problem = NULL;
    *out = (math_extract){.count = 1, .plain = 1, .source = source, .problem = problem};
    out->pieces[0] = s;
}

/* Content of a tag or marker: a formula's delimiters are dropped, boxes are opened. */
static int read_content(math_slice content, math_extract *out, const char *source, unsigned from)
{
    content = find_strip_markup(content);
    if (!content.length) {
        *out = (math_extract){.source = source, .problem = "it is empty"};
        return 1;
    }
    finder inner = {content.data, content.data + content.length, from};
    math_extract boxes = {0};
    if (find_boxes(&inner, &boxes)) {
        *out = boxes;
        out->source = source;
        return 1;
    }
    math_slice formula;
    const char *after;
    if (find_formula(content.data, inner.end, &formula, &after) && after == inner.end) {
        use_slice(out, formula, source);
        out->plain = 0;
        return 1;
    }
    math_extract statement = {0};
    if (content.length > 60 || memchr(content.data, '\n', content.length) || find_count_words(content) > 2) {
        if (find_phrase(&inner, 1, &statement) || find_phrase(&inner, 0, &statement) || find_last_items(content, LINK_OR, &statement)) {
            *out = statement;
            out->source = source;
            return 1;
        }
    }
    use_slice(out, content, source);
    return 1;
}

/* Strong marks: the last one in the text wins. */
static int find_strong(const finder *f, math_extract *out)
{
    const char *best = NULL, *at;
    math_extract candidate = {0};
    math_slice content;
    if ((f->from & GRPO_MATH_FROM_FINAL) && (at = find_phrase(f, 1, &candidate)) != NULL) {
        best = at;
        *out = candidate;
        out->source = "final";
    }
    candidate = (math_extract){0};
    if ((f->from & GRPO_MATH_FROM_BOX) && (at = find_boxes(f, &candidate)) != NULL && at > best) {
        best = at;
        *out = candidate;
        out->source = "box";
    }
    if ((f->from & GRPO_MATH_FROM_MARKER) && (at = find_marker(f, &content)) != NULL && at > best) {
        best = at;
        read_content(content, out, "marker", f->from);
    }
    if ((f->from & GRPO_MATH_FROM_TAG) && (at = find_tag(f, &content)) != NULL && (at > best || best < content.data + content.length)) {
        best = at;
        read_content(content, out, "tag", f->from);
    }
    return best != NULL;
}

/* A response that is short and on one line may be nothing but the answer. */
static int is_bare(math_slice s)
{
    return s.length <= 400 && !memchr(s.data, '\n', s.length);
}

/* "7/2", "x = 3", "18 dollars", "sqrt(2)", "no solution" are answers; "Therefore, 2 + 3 = 5" and "5 is too
 * small" are sentences. */
static int has_prose(math_slice s)
{
    static const char *const openers[] = {"therefore", "thus", "hence", "so", "then", "finally", "we", "the", "it", "she", "he", "they", "there", "this", "that", "now", "since", "because", "in", "if", "for", "at", "let"};
    size_t n = 0;
    while (n < s.length && math_text_is_letter(s.data[n]))
        n++;
    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++)
        if (n < s.length && math_text_equals((math_slice){s.data, n}, openers[i]))
            return 1;
    for (size_t i = 2; i + 1 < s.length; i++) /* it's, don't: no primes */
        if (s.data[i] == '\'' && math_text_is_letter(s.data[i - 1]) && math_text_is_letter(s.data[i - 2]) &&
            math_text_is_letter(s.data[i + 1]))
            return 1;
    int digits = 0;
    for (size_t i = 0; i < s.length; i++)
        digits |= math_text_is_digit(s.data[i]);
    return find_count_words(s) > (digits ? 2 : 5);
}

/* "Answer \( 10 \)": a word that is no letter of a product, and then a formula. In dollars a formula speaks for itself. */
static int labels_formula(math_slice s)
{
    size_t word = 0;
    while (word < s.length && math_text_is_letter(s.data[word]))
        word++;
    if (memchr(s.data, '$', s.length))
        return 1;
    for (size_t i = word; word > 3 && i + 1 < s.length; i++)
        if (s.data[i] == '\\' && (s.data[i + 1] == '(' || s.data[i + 1] == '['))
            return 1;
    return 0;
}

/* "Total: 5", "Option C": without the words in front. */
static math_slice without_label(math_slice s)
{
    size_t n = 0;
    while (n < s.length && (math_text_is_letter(s.data[n]) || s.data[n] == ' '))
        n++;
    const char *end = s.data + s.length, *p = find_skip_fillers(s.data, end);
    if (n > 2 && n + 1 < s.length && s.data[n] == ':' && n < 40 && s.data[n + 1] != '/')
        p = s.data + n + 1;
    return find_strip_markup(math_slice_between(p, end));
}

void math_extract_answer(math_extract *out, math_slice response, unsigned from)
{
    finder f = {response.data, response.data + response.length, from ? from : GRPO_MATH_FROM_ALL};
    *out = (math_extract){.source = "none", .problem = "the response holds no answer"};
    frame_response(&f);
    math_slice body = find_strip_markup(math_slice_between(f.begin, f.end));
    if (!body.length)
        return;
    math_extract found = {0};
    if (find_strong(&f, &found)) {
        *out = found;
        for (int i = 0; i < out->count; i++)
            if (!(out->pieces[i] = find_unwrap_boxes(out->pieces[i])).length && out->count == 1)
                *out = (math_extract){.source = found.source, .problem = "the answer is empty"};
        return;
    }
    if ((f.from & GRPO_MATH_FROM_PHRASE) && find_phrase(&f, 0, &found)) {
        *out = found;
        out->source = "phrase";
        return;
    }
    math_slice formula;
    const char *after;
    if ((f.from & GRPO_MATH_FROM_WHOLE) && is_bare(body)) {
        body = find_without_remark(without_label(body));
        if (find_formula(body.data, body.data + body.length, &formula, &after) && after == body.data + body.length) {
            use_slice(out, formula, "whole");
            out->plain = 0;
            return;
        }
        const char *last = find_first_items(body, LINK_OR | LINK_AND | LINK_COMMA, &found);
        if (last && found.count > 1 && math_text_trim(math_slice_between(last, body.data + body.length)).length <= 1 && memchr(body.data, '$', body.length)) {
            *out = found;
            out->source = "whole";
            return;
        }
        if (!labels_formula(body) && !has_prose(body)) {
            use_slice(out, body, "whole");
            return;
        }
    }
    found = (math_extract){0};
    if ((f.from & GRPO_MATH_FROM_LAST) && find_last_items(math_slice_between(f.end - f.begin > TAIL ? f.end - TAIL : f.begin, f.end), LINK_OR, &found)) {
        *out = found;
        out->source = "last";
    }
}

void math_extract_gold(math_extract *out, math_slice gold)
{
    finder f = {gold.data, gold.data + gold.length, GRPO_MATH_FROM_ALL};
    math_slice body = math_text_trim(gold), formula, content;
    const char *after;
    *out = (math_extract){.source = "none", .problem = "the reference is empty"};
    if (!body.length)
        return;
    math_extract boxes = {0};
    if (find_boxes(&f, &boxes) && boxes.count) {
        *out = boxes;
        out->source = "box";
        for (int i = 0; i < out->count; i++)
            out->pieces[i] = find_unwrap_boxes(out->pieces[i]);
        return;
    }
    if (find_marker(&f, &content)) {
        read_content(content, out, "marker", f.from);
        return;
    }
    if (find_formula(body.data, body.data + body.length, &formula, &after) && after == body.data + body.length) {
        use_slice(out, formula, "formula");
        out->plain = 0;
        return;
    }
    use_slice(out, body, "whole");
    out->plain = !memchr(body.data, '\\', body.length) && !memchr(body.data, '$', body.length);
}
