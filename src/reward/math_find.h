/* Shared by the files that look for an answer in a response. Texts are [begin, end) and not NUL-terminated. */
#ifndef REWARD_MATH_FIND_H
#define REWARD_MATH_FIND_H

#include <string.h>

#include "reward/math_extract.h"

typedef struct finder {
    const char *begin, *end;
    unsigned from; /* GRPO_MATH_FROM_* */
} finder;

static inline math_slice math_slice_between(const char *begin, const char *end)
{
    return (math_slice){begin, end > begin ? (size_t)(end - begin) : 0};
}

static inline int find_starts(const char *p, const char *end, const char *word)
{
    size_t n = strlen(word);
    return (size_t)(end - p) >= n && memcmp(p, word, n) == 0;
}

static inline int find_starts_ignoring_case(const char *p, const char *end, const char *lower)
{
    return math_text_starts(math_slice_between(p, end), lower);
}

/* ---- formulas and boxes ------------------------------------------------------------------------ */

/* The formula that opens at p ($, $$, \( or \[): its content, and where it ends. 0 when p opens none. */
int find_formula(const char *p, const char *end, math_slice *content, const char **after);

/* The last box of the text, with the boxes before it that belong to it. Boxes inside boxes count as their
 * contents. Returns where the last box begins, NULL when there is none. */
const char *find_boxes(const finder *f, math_extract *out);
math_slice find_unwrap_boxes(math_slice s); /* \boxed{\boxed{x}} is x */

/* ---- prose --------------------------------------------------------------------------------------- */

typedef struct find_item {
    math_slice text;
    const char *begin, *end;
    int formula;
} find_item;

/* What stands between two items that make one answer together: "2 or 3", "6 and 8", "1, 2, and 3". */
typedef enum find_link { LINK_OR = 1, LINK_AND = 2, LINK_COMMA = 4 } find_link;

int find_count_words(math_slice s); /* LaTeX commands are none */
math_slice find_strip_markup(math_slice s); /* drops Markdown, quotes and colons at both ends */
const char *find_sentence_end(const char *p, const char *end);
/* The next formula, number, bracket or assignment from p on; begin is where the text begins. */
int find_next_item(const char *begin, const char *p, const char *end, find_item *out);
/* The last item of a stretch of prose with those linked to it (find_link bits). 0 when there is none. */
int find_last_items(math_slice s, unsigned links, math_extract *out);
/* The item that begins the stretch, with those linked to it. Returns where they end, NULL when it begins
 * with something else. */
const char *find_first_items(math_slice s, unsigned links, math_extract *out);

/* ---- phrases --------------------------------------------------------------------------------------- */

/* The last "answer is"/"Answer:" (or with `final` before it). Returns its position, NULL. */
const char *find_phrase(const finder *f, int final, math_extract *out);
const char *find_skip_fillers(const char *p, const char *end); /* "therefore", "option" */
math_slice find_without_remark(math_slice s);                  /* "5 (five)" is 5 */

#endif
