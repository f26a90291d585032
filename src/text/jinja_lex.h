/* Template text to tokens, with jinja2's whitespace rules under trim_blocks and lstrip_blocks. */
#ifndef TEXT_JINJA_LEX_H
#define TEXT_JINJA_LEX_H

#include "text/jinja_run.h"

typedef enum jinja_token_type {
    JINJA_T_DATA,
    JINJA_T_VARIABLE_BEGIN,
    JINJA_T_VARIABLE_END,
    JINJA_T_BLOCK_BEGIN,
    JINJA_T_BLOCK_END,
    JINJA_T_NAME,
    JINJA_T_TEXT, /* a string literal */
    JINJA_T_INT,
    JINJA_T_FLOAT,
    JINJA_T_OPERATOR, /* `op` holds its spelling */
    JINJA_T_END,
} jinja_token_type;

typedef struct jinja_token {
    jinja_token_type type;
    int line;
    char op[3];
    const char *text; /* data, name, string contents */
    size_t length;
    int64_t integer;
    double number;
} jinja_token;

/* All tokens of a template, the last being JINJA_T_END. source is well-formed UTF-8. */
jinja_token *jinja_tokenize(jinja_run *r, const char *source, size_t length);

#endif
