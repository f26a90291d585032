/* Chat templates: the public face of the template engine. Owns compiling under limits, turning a
 * conversation into the template's variables, and the point that failures jump back to. */
#define _GNU_SOURCE /* newlocale */
#include <locale.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "grpo/template.h"
#include "text/jinja_lex.h"
#include "text/jinja_ops.h"
#include "text/jinja_parse.h"
#include "text/jinja_scope.h"
#include "text/jinja_unicode.h"

#define SPECIALS 7

struct grpo_template {
    jinja_arena arena;
    jinja_program *program;
    grpo_template *with_tools;                   /* another template for conversations with tools, or NULL */
    char *special_names[SPECIALS], *special_texts[SPECIALS];
    int specials;
};

/* ---- the way out ------------------------------------------------------------------------------ */

typedef void work_fn(jinja_run *r, void *context);

/* Runs work under a setjmp, with C's locale for numbers and dates. False when it failed. */
static bool protect(jinja_run *r, work_fn *work, void *context)
{
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain ? uselocale(plain) : (locale_t)0;
    if (setjmp(r->exit) == 0)
        work(r, context);
    if (plain) {
        uselocale(before);
        freelocale(plain);
    }
    jinja_buffers_free(r);
    return r->error == JINJA_NO_ERROR;
}

static grpo_status status_of(jinja_error e)
{
    return e == JINJA_UNSUPPORTED ? GRPO_ERR_UNSUPPORTED
           : e == JINJA_NO_MEMORY ? GRPO_ERR_MEMORY
                                  : GRPO_ERR_FORMAT;
}

static const char *message_of(const jinja_run *r)
{
    return r->message ? r->message : "out of memory";
}

/* ---- compiling ----------------------------------------------------------------------------------- */

typedef struct compile_work {
    const char *text;
    size_t length;
    jinja_program *program;
} compile_work;

static void compile(jinja_run *r, void *context)
{
    compile_work *w = context;
    if (w->length > JINJA_MAX_SOURCE)
        jinja_fail(r, JINJA_LIMIT, "the template is longer than %zu MiB", JINJA_MAX_SOURCE >> 20);
    if (utf8_valid_prefix(w->text, w->length) != w->length)
        jinja_fail(r, JINJA_SYNTAX_ERROR, "the template is not valid UTF-8");
    w->program = jinja_parse(r, w->text, w->length);
    jinja_bind(r, w->program);
}

grpo_status grpo_template_create(grpo_template **out, const char *text, size_t length, grpo_error *err)
{
    *out = NULL;
    grpo_template *t = mem_calloc(1, sizeof *t);
    if (!t)
        return mem_fail(err, "a chat template", sizeof *t);
    unicode_init();
    jinja_run r = {.arena.limit = JINJA_MAX_MEMORY, .steps = JINJA_MAX_STEPS, .line = 1};
    compile_work w = {text, length, NULL};
    bool compiled = protect(&r, compile, &w);
    t->arena = r.arena;
    t->program = w.program;
    if (compiled) {
        *out = t;
        return GRPO_OK;
    }
    grpo_status status = grpo_fail(err, status_of(r.error), "line %d: %s%s", r.line,
                                   r.error == JINJA_UNSUPPORTED ? "not supported: " : "", message_of(&r));
    mem_free(r.message);
    grpo_template_destroy(t);
    return status;
}

void grpo_template_destroy(grpo_template *t)
{
    if (!t)
        return;
    grpo_template_destroy(t->with_tools);
    for (int i = 0; i < t->specials; i++) {
        mem_free(t->special_names[i]);
        mem_free(t->special_texts[i]);
    }
    jinja_arena_free(&t->arena);
    mem_free(t);
}

static grpo_status add_special(grpo_template *t, const char *name, const char *text, grpo_error *err)
{
    char *n = mem_strdup(name), *v = mem_strdup(text);
    if (!n || !v) {
        mem_free(n);
        mem_free(v);
        return mem_fail(err, "a special token", strlen(text));
    }
    t->special_names[t->specials] = n;
    t->special_texts[t->specials++] = v;
    return GRPO_OK;
}

static grpo_status compile_named(grpo_template **out, const grpo_tokenizer *tokenizer, const char *name,
                                 grpo_error *err)
{
    static const char *const tokens[SPECIALS] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                 "pad_token", "cls_token", "mask_token"};
    const char *source = grpo_tokenizer_chat_template(tokenizer, name);
    grpo_status status = grpo_template_create(out, source, strlen(source), err);
    if (status != GRPO_OK)
        return grpo_error_prefix(err, status, "chat template%s%s", name ? " " : "", name ? name : "");
    for (int i = 0; i < SPECIALS && status == GRPO_OK; i++) {
        const char *text = grpo_tokenizer_special(tokenizer, tokens[i]);
        if (text)
            status = add_special(*out, tokens[i], text, err);
    }
    return status;
}

grpo_status grpo_template_of_tokenizer(grpo_template **out, const grpo_tokenizer *tokenizer, grpo_error *err)
{
    *out = NULL;
    grpo_template *t = NULL;
    if (!grpo_tokenizer_chat_template(tokenizer, NULL))
        return grpo_fail(err, GRPO_ERR_CONFIG,
                         "the tokenizer has no default chat template: give one, or use plain prompts");
    grpo_status status = compile_named(&t, tokenizer, NULL, err);
    if (status == GRPO_OK && grpo_tokenizer_chat_template(tokenizer, "tool_use"))
        status = compile_named(&t->with_tools, tokenizer, "tool_use", err);
    if (status == GRPO_OK)
        *out = t;
    else
        grpo_template_destroy(t);
    return status;
}

/* ---- variables ------------------------------------------------------------------------------------- */

static jinja_value of_json(jinja_run *r, const json_t *j);

static jinja_value of_array(jinja_run *r, const json_t *j)
{
    size_t n = json_array_size(j);
    jinja_list_builder b = {jinja_alloc(r, n, sizeof *b.items), n, n};
    for (size_t i = 0; i < n; i++)
        b.items[i] = of_json(r, json_array_get(j, i));
    return jinja_build_list(r, &b);
}

static void copy_fields(jinja_run *r, jinja_dict *d, const json_t *object)
{
    for (void *i = json_object_iter((json_t *)object); i; i = json_object_iter_next((json_t *)object, i)) {
        const char *key = json_object_iter_key(i);
        jinja_dict_set(r, d, jinja_borrow_text(r, key, strlen(key)), of_json(r, json_object_iter_value(i)));
    }
}

static jinja_value of_object(jinja_run *r, const json_t *j)
{
    jinja_dict *d = jinja_dict_new(r);
    copy_fields(r, d, j);
    return jinja_of_dict(d);
}

static jinja_value of_json(jinja_run *r, const json_t *j)
{
    jinja_value v = jinja_none();
    jinja_charge(r, 1);
    jinja_deepen(r);
    switch (json_typeof(j)) {
    case JSON_TRUE:
    case JSON_FALSE:
        v = jinja_bool(json_is_true(j));
        break;
    case JSON_INTEGER:
        v = jinja_int(json_integer_value(j));
        break;
    case JSON_REAL:
        v = jinja_float(json_real_value(j));
        break;
    case JSON_STRING:
        v = jinja_borrow_text(r, json_string_value(j), json_string_length(j));
        break;
    case JSON_ARRAY:
        v = of_array(r, j);
        break;
    case JSON_OBJECT:
        v = of_object(r, j);
        break;
    default:
        break;
    }
    r->depth--;
    return v;
}

/* A message; its reasoning goes under the names that templates read, in transformers' order of keys. */
static jinja_value of_message(jinja_run *r, const json_t *message)
{
    static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
    const json_t *reasoning = NULL;
    jinja_dict *d = jinja_dict_new(r);
    for (size_t i = 0; i < sizeof names / sizeof *names && !reasoning; i++) {
        reasoning = json_object_get(message, names[i]);
        if (json_is_null(reasoning))
            reasoning = NULL;
    }
    if (reasoning)
        jinja_dict_set(r, d, jinja_text(r, "thinking"), of_json(r, reasoning));
    copy_fields(r, d, message);
    if (reasoning)
        jinja_dict_set(r, d, jinja_text(r, "reasoning_content"), of_json(r, reasoning));
    return jinja_of_dict(d);
}

static jinja_value of_messages(jinja_run *r, const json_t *messages)
{
    size_t n = json_array_size(messages);
    jinja_list_builder b = {jinja_alloc(r, n, sizeof *b.items), n, n};
    for (size_t i = 0; i < n; i++)
        b.items[i] = of_message(r, json_array_get(messages, i));
    return jinja_build_list(r, &b);
}

static void set_variable(jinja_run *r, const char *name, jinja_value v)
{
    jinja_dict_set(r, r->variables, jinja_text(r, name), v);
}

static void set_variables(jinja_run *r, const grpo_template *t, const grpo_template_input *in)
{
    r->variables = jinja_dict_new(r);
    for (int i = 0; i < t->specials; i++)
        set_variable(r, t->special_names[i], jinja_text(r, t->special_texts[i]));
    set_variable(r, "documents", jinja_none());
    if (in->variables)
        copy_fields(r, r->variables, in->variables);
    set_variable(r, "messages", of_messages(r, in->messages));
    set_variable(r, "tools", in->tools ? of_json(r, in->tools) : jinja_none());
    set_variable(r, "add_generation_prompt", jinja_bool(in->add_generation_prompt));
}

/* ---- rendering ---------------------------------------------------------------------------------------- */

typedef struct render_work {
    const grpo_template *template;
    const grpo_template_input *input;
    jinja_value text;
} render_work;

static void render(jinja_run *r, void *context)
{
    render_work *w = context;
    const jinja_program *p = w->template->program;
    r->program = p;
    r->free_frames = jinja_zalloc(r, (size_t)p->functions, sizeof *r->free_frames);
    set_variables(r, w->template, w->input);
    jinja_frame *frame = jinja_frame_new(r, p->function, NULL);
    jinja_enter_scope(r, frame, &p->loads);
    jinja_buffer *out = jinja_buffer_open(r);
    jinja_exec(r, frame, &p->body, out);
    w->text = jinja_buffer_finish(r, out);
}

static grpo_status check_input(const grpo_template_input *in, grpo_error *err)
{
    static const char *const taken[] = {"messages", "tools", "add_generation_prompt"};
    if (!json_is_array(in->messages))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"messages\" must be a list");
    for (size_t i = 0; i < json_array_size(in->messages); i++)
        if (!json_is_object(json_array_get(in->messages, i)))
            return grpo_fail(err, GRPO_ERR_FORMAT, "messages[%zu] is not an object", i);
    if (in->tools && !json_is_null(in->tools) && !json_is_array(in->tools))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"tools\" must be a list of JSON schemas, or null");
    if (in->variables && !json_is_object(in->variables))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"variables\" must be an object");
    for (size_t i = 0; in->variables && i < sizeof taken / sizeof *taken; i++)
        if (json_object_get(in->variables, taken[i]))
            return grpo_fail(err, GRPO_ERR_FORMAT, "\"%s\" may not be among the variables", taken[i]);
    return GRPO_OK;
}

static grpo_status keep_text(grpo_template_result *result, jinja_value v, grpo_error *err)
{
    result->text = mem_realloc(NULL, v.string->length + 1, 1);
    if (!result->text)
        return mem_fail(err, "the text of a conversation", v.string->length);
    memcpy(result->text, v.string->data, v.string->length);
    result->text[v.string->length] = 0;
    result->length = v.string->length;
    return GRPO_OK;
}

static grpo_status keep_error(grpo_template_result *result, jinja_run *r, grpo_error *err)
{
    grpo_status status = grpo_fail(err, status_of(r->error), "chat template, line %d: %s%s", r->line,
                                   r->error == JINJA_UNSUPPORTED ? "not supported: " : "", message_of(r));
    result->error = r->message;
    result->error_length = r->message_length;
    result->error_kind = jinja_error_name(r->error);
    result->error_line = r->line;
    return status;
}

grpo_status grpo_template_render_messages(const grpo_template *t, const grpo_template_input *input,
                                          grpo_template_result *result, grpo_error *err)
{
    memset(result, 0, sizeof *result);
    grpo_status status = check_input(input, err);
    if (status != GRPO_OK)
        return status;
    if (t->with_tools && json_is_array(input->tools))
        t = t->with_tools;
    jinja_run r = {.arena.limit = JINJA_MAX_MEMORY,
                   .steps = input->max_steps ? input->max_steps : JINJA_MAX_STEPS,
                   .now = input->now};
    render_work w = {t, input, jinja_missing()};
    status = protect(&r, render, &w) ? keep_text(result, w.text, err) : keep_error(result, &r, err);
    jinja_arena_free(&r.arena);
    return status;
}

void grpo_template_result_deinit(grpo_template_result *result)
{
    mem_free(result->text);
    mem_free(result->error);
    memset(result, 0, sizeof *result);
}
