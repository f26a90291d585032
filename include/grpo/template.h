/* Chat templates: a model's own Jinja template turns a conversation into the prompt's text, exactly as
 * transformers does (jinja2 3.1.6 in its immutable sandbox; trim_blocks, lstrip_blocks, loop controls,
 * `tojson` without HTML escapes, `raise_exception`, `strftime_now`, the `generation` tag).
 *
 * A template is compiled once and never changes: any number of threads may render it at a time. A
 * template that uses what is not there (other templates, autoescaping, a few filters that are random
 * or for web pages) is refused with the line and the construct. Templates are untrusted: steps,
 * memory, text and depth are bounded. */
#ifndef GRPO_TEMPLATE_H
#define GRPO_TEMPLATE_H

#include <stddef.h>
#include <time.h>

#include "grpo/error.h"
#include "grpo/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_t; /* Jansson's */

typedef struct grpo_template grpo_template;

/* Compiles a template's text (UTF-8). On failure the message is "line N: reason"; the status is
 * GRPO_ERR_FORMAT for what jinja2 refuses too, GRPO_ERR_UNSUPPORTED for what only this engine does. */
grpo_status grpo_template_create(grpo_template **out, const char *text, size_t length, grpo_error *err);

/* The template of a tokenizer, with its special tokens (bos_token, eos_token, …) as variables. Where
 * there are several, "tool_use" is used for conversations with tools, else "default". */
grpo_status grpo_template_of_tokenizer(grpo_template **out, const grpo_tokenizer *t, grpo_error *err);
void grpo_template_destroy(grpo_template *t);

/* A conversation. The values are Jansson's and are only read. */
typedef struct grpo_template_input {
    const struct json_t *messages;  /* array of objects */
    const struct json_t *tools;     /* array of JSON schemas; NULL or null: none */
    int add_generation_prompt;      /* end with the head of the assistant's turn */
    const struct json_t *variables; /* object with further variables, or NULL; overrides special tokens */
    const struct tm *now;           /* what strftime_now sees; NULL: the clock */
    size_t max_steps;               /* work after which a render is given up; 0: 50 million (about a second) */
} grpo_template_input;

/* What a render gave: text, or why the template failed. */
typedef struct grpo_template_result {
    char *text; /* NUL-terminated besides; NULL when the template failed */
    size_t length;
    char *error; /* the template's own words (raise_exception) or the reason; NULL when it did not fail */
    size_t error_length;
    const char *error_kind; /* "raised_by_template", or Python's name for it: "UndefinedError", … */
    int error_line;
} grpo_template_result;

/* Renders a conversation. A message's reasoning (`reasoning_content`, `thinking` or `reasoning`) is
 * given to the template under both of the first two names, as transformers does. When the template
 * fails the status is GRPO_ERR_FORMAT (GRPO_ERR_UNSUPPORTED for what this engine lacks), err says
 * "chat template, line N: reason" and result has the parts. */
grpo_status grpo_template_render_messages(const grpo_template *t, const grpo_template_input *input,
                                          grpo_template_result *result, grpo_error *err);
void grpo_template_result_deinit(grpo_template_result *result);

#ifdef __cplusplus
}
#endif
#endif
