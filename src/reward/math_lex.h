/* Tokens of an answer: LaTeX, plain text and what people mix of both. */
#ifndef REWARD_MATH_LEX_H
#define REWARD_MATH_LEX_H

#include "reward/math_tree.h"

typedef enum math_token_kind {
    TOK_END,
    TOK_NUMBER,  /* text: digits with an optional point, separators removed; number fields */
    TOK_LETTER,  /* text: a variable's name */
    TOK_WORD,    /* text: two or more letters that are no known word */
    TOK_TEXT,    /* text: what stood in \text{...}, trimmed */
    TOK_FUNCTION, /* value: math_function */
    TOK_CONSTANT, /* value: math_constant */
    TOK_PLUS, TOK_MINUS, TOK_PLUSMINUS, TOK_MINUSPLUS, TOK_TIMES, TOK_DIVIDE, TOK_CARET, TOK_UNDERSCORE,
    TOK_BANG, TOK_PERCENT, TOK_DEGREE, TOK_PRIME,
    TOK_RELATION, /* value: math_relation */
    TOK_OPEN, TOK_CLOSE, /* value: one of ( [ { (for \{) F (floor) C (ceiling) < (\langle), and their closings */
    TOK_LBRACE, TOK_RBRACE, TOK_BAR, TOK_COMMA, TOK_SEMICOLON, TOK_COLON, TOK_AND, TOK_OR, TOK_TO,
    TOK_QUAD, TOK_ROW, TOK_AMPERSAND, TOK_ARROW, TOK_MONEY, TOK_FRAC, TOK_SQRT, TOK_BINOM,
    TOK_BIG,      /* value: math_big */
    TOK_BEGIN, TOK_FINISH, /* text: environment */
    TOK_SETOP,    /* value: 'u' 'n' 'm' */
    TOK_NAMED_SET, /* value: 'R' ...; '0' the empty set */
    TOK_ACCENT,   /* value: 'o' for overlines, 0 for the rest; its argument follows */
    TOK_GEOMETRY, /* text: prefix such as an angle sign */
    TOK_DOTS, TOK_DOT, TOK_MOD, TOK_COMPLEMENT,
    TOK_BAD       /* something that has no place in an answer */
} math_token_kind;

typedef struct math_token {
    unsigned char kind;
    unsigned char value;
    unsigned char space; /* white space stood before it */
    unsigned char flags; /* TOK_NUMBER: MATH_DECIMAL ... */
    unsigned short repeating; /* TOK_NUMBER: how many of the last digits repeat */
    unsigned length;     /* of text */
    const char *text;
    long exponent;       /* TOK_NUMBER: power of ten from scientific notation */
} math_token;

enum {
    MATH_LEX_PLAIN = 1, /* the text stood outside formulas */
    MATH_LEX_LISTS = 2  /* read 1,234 as two numbers */
};

typedef struct math_tokens {
    math_token *items; /* the last one is TOK_END */
    size_t count;
    int grouped; /* a comma was read as thousands separator */
} math_tokens;

/* Splits text (ASCII and LaTeX only: see math_text_clean). Returns 0, or -1 with tree->problem. */
int math_lex(math_tree *tree, math_tokens *out, const char *text, size_t length, unsigned flags);

#endif
