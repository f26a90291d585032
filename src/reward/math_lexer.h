/* Shared by the lexer's files: math_lex.c (characters), math_lex_number.c, math_lex_word.c,
 * math_lex_command.c and math_lex_table.c. The functions return 0, or -1 after tree->problem was set. */
#ifndef REWARD_MATH_LEXER_H
#define REWARD_MATH_LEXER_H

#include "reward/math_lex.h"
#include "reward/math_text.h"

typedef struct math_lexer {
    math_tree *tree;
    const char *at, *end, *begin;
    math_tokens *out;
    size_t capacity;
    unsigned flags;
    size_t scanned;   /* in looking for closing braces */
    int depth;        /* of ( [ \{ */
    int spaced_comma; /* the text has ", ": commas without a space are then thousands separators in lists */
    int space;
    int has_rows;     /* the text has an environment: a double backslash ends a row */
    int after_script; /* the last token was _ : i and e are letters there */
} math_lexer;

/* Adds a token; text is kept by reference. */
int lexer_add(math_lexer *lx, math_token_kind kind, int value, const char *text, size_t length);
const math_token *lexer_last(const math_lexer *lx); /* NULL before the first */

/* Each reads from lx->at on and moves it. */
int lexer_number(math_lexer *lx);
int lexer_word(math_lexer *lx);
int lexer_backslash(math_lexer *lx); /* lx->at is behind the backslash */
int lexer_letter(math_lexer *lx, const char *p);
/* What \text{content} means; name is the command's. */
int lexer_text(math_lexer *lx, math_slice name, math_slice content);

/* End of the group that opens at p ('{'), or NULL when it never closes (or too much was looked through). */
const char *lexer_group_end(math_lexer *lx, const char *p);
/* \overline{3}, \dot{3} or (3) at p: repeating digits. Returns their number, 0 when there are none. */
size_t lexer_repeating(math_lexer *lx, const char *p, const char **digits, const char **end);

typedef struct lexer_command {
    const char *name;
    unsigned char kind, value;
} lexer_command;

const lexer_command *lexer_find(const char *name, size_t length);       /* a command without its backslash */
const lexer_command *lexer_find_word(const char *lower, size_t length); /* a plain word */
int lexer_is_text_command(const char *name, size_t length);

#endif
