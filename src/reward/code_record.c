/* Jobs from records. */
#include "reward/code_record.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "reward/code_tests.h"

enum { LARGEST_FILE = 16 << 20, MOST_INDENT = 3 /* of a fence, as in CommonMark: further in it may stand in a docstring */ };

static json_t *text_at(const json_t *record, const char *key)
{
    json_t *value = json_object_get(record, key);
    return json_is_string(value) ? value : NULL;
}

/* ---- the program --------------------------------------------------------------------------------- */

/* A block whose fence is indented, as in a list: that indentation is not the program's. */
static json_t *block_text(const code_program *p)
{
    strbuf text = STRBUF_INIT;
    for (const char *q = p->text, *end = p->text + p->length; q < end;) {
        const char *stop = memchr(q, '\n', (size_t)(end - q)), *next = stop ? stop + 1 : end;
        for (size_t i = 0; i < p->indent && q < next && (*q == ' ' || *q == '\t'); i++)
            q++;
        strbuf_append(&text, q, (size_t)(next - q));
        q = next;
    }
    json_t *value = text.failed ? NULL : json_string_lossy(strbuf_text(&text), text.length);
    strbuf_deinit(&text);
    return value;
}

static json_t *program_of_file(const code_settings *s, const char *name, char problem[256])
{
    char *path = s->base && name[0] != '/' ? file_join(s->base, name) : mem_strdup(name), *data = NULL;
    size_t length = 0;
    grpo_error err;
    json_t *value = NULL;
    if (!path)
        snprintf(problem, 256, "out of memory for a path");
    else if (file_read(&data, &length, path, LARGEST_FILE, &err) != GRPO_OK)
        snprintf(problem, 256, "%.250s", err.message);
    else
        value = json_string_lossy(data, length);
    mem_free(data);
    mem_free(path);
    return value;
}

static json_t *joined(const grpo_reward_record *r)
{
    strbuf text = STRBUF_INIT;
    strbuf_append(&text, r->prompt ? r->prompt : "", r->prompt_length);
    strbuf_append(&text, r->completion, r->completion_length);
    json_t *value = text.failed ? NULL : json_string_lossy(strbuf_text(&text), text.length);
    strbuf_deinit(&text);
    return value;
}

/* The program's text, and its language where a fence names it. */
static json_t *find_program(const grpo_reward_record *r, const code_settings *s, code_language *language, char problem[256])
{
    const json_t *file = s->programs_in_records ? text_at(r->fields, "file") : NULL;
    json_t *program = s->programs_in_records ? text_at(r->fields, "program") : NULL;
    if (file)
        return program_of_file(s, json_string_value(file), problem);
    if (program)
        return json_incref(program);
    if (!r->completion) {
        snprintf(problem, 256, "the record has no program: it needs a completion%s", s->programs_in_records ? ", `program` or `file`" : "");
        return NULL;
    }
    code_program p = code_extract(r->completion, r->completion_length, *language);
    int answers = p.fenced && p.indent <= MOST_INDENT; /* a chat model's, which no program continues */
    if (s->continues || (s->programs_in_records && !answers))
        return joined(r);
    if (*language == CODE_UNKNOWN && (p.language == CODE_PYTHON || p.language == CODE_C))
        *language = p.language;
    return block_text(&p);
}

static int read_language(const json_t *fields, code_language *language, char problem[256])
{
    const json_t *named = text_at(fields, "language") ? text_at(fields, "language") : text_at(fields, "lang");
    if (*language != CODE_UNKNOWN || !named)
        return 1;
    *language = code_language_of(json_string_value(named), json_string_length(named));
    if (*language != CODE_OTHER)
        return 1;
    snprintf(problem, 256, "programs in %.60s are not run: the languages are python and c", json_string_value(named));
    return 0;
}

json_t *code_job(const grpo_reward_record *r, const code_settings *s, char problem[256])
{
    code_language language = s->language;
    problem[0] = 0;
    if (!read_language(r->fields, &language, problem))
        return NULL;
    json_t *job = code_tests(r, problem);
    json_t *program = job ? find_program(r, s, &language, problem) : NULL;
    int calls = job && strcmp(json_string_value(json_object_get(job, "kind")), "calls") == 0;
    if (program && language == CODE_C && calls) {
        snprintf(problem, 256, "C programs are judged by inputs and outputs; these tests call a function");
    } else if (program) {
        json_t *prompt = r->prompt ? json_string_lossy(r->prompt, r->prompt_length) : json_string("");
        int failed = json_object_set_new(job, "program", program) | json_object_set_new(job, "prompt", prompt) |
                     json_object_set_new(job, "language", json_string(language == CODE_C ? "c" : "python")) |
                     json_object_set_new(job, "compare", json_string(s->compare));
        if (!failed)
            return job;
        snprintf(problem, 256, "out of memory for a job");
        json_decref(job);
        return NULL;
    } else if (!problem[0]) {
        snprintf(problem, 256, "out of memory for a program");
    }
    json_decref(program);
    json_decref(job);
    return NULL;
}
