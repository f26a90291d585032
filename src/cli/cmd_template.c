/* grpo template: conversations to text, through a model's chat template. */
#define _DEFAULT_SOURCE /* timegm */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "grpo/template.h"

#define MAX_TEMPLATE ((size_t)64 << 20)

static const char HELP[] =
    "usage: grpo template --model M | --template FILE [options] [FILE]\n\n"
    "Reads one JSON object a line, from FILE or stdin:\n"
    "  \"messages\"               the conversation: a list of objects with \"role\", \"content\", …\n"
    "  \"tools\"                  JSON schemas of the tools, or null\n"
    "  \"add_generation_prompt\"  true: end with the head of the assistant's turn\n"
    "  \"variables\"              further variables, such as bos_token or enable_thinking\n"
    "and writes it with \"text\", or with \"error\" (and \"error_kind\", \"error_line\") when the template\n"
    "fails on it.\n\n"
    "  --model M        the chat template and special tokens of a model's folder, tokenizer.json or GGUF file\n"
    "  --template FILE  a Jinja template; tokens that \"variables\" does not name are undefined\n"
    "  --now TIME       \"2025-03-09 14:05:07\": what the template takes for the present\n";

typedef struct options {
    grpo_template *template;
    struct tm now;
    int fixed_now;
} options;

static grpo_status put(json_t *object, const char *name, json_t *value, grpo_error *err)
{
    if (json_object_set_new(object, name, value) != 0)
        return mem_fail(err, "a line of output", 0);
    return GRPO_OK;
}

static grpo_status put_error(json_t *object, const grpo_template_result *result, grpo_error *err)
{
    grpo_status status = put(object, "error", json_stringn(result->error, result->error_length), err);
    if (status == GRPO_OK)
        status = put(object, "error_kind", json_string(result->error_kind), err);
    if (status == GRPO_OK)
        status = put(object, "error_line", json_integer(result->error_line), err);
    return status;
}

static grpo_status render(void *context, json_t *object, grpo_error *err)
{
    const options *o = context;
    const json_t *variables = json_object_get(object, "variables"),
                 *prompt = json_object_get(object, "add_generation_prompt");
    if (prompt && !json_is_boolean(prompt) && !json_is_null(prompt))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"add_generation_prompt\" must be true or false");
    grpo_template_input input = {.messages = json_object_get(object, "messages"),
                                 .tools = json_object_get(object, "tools"),
                                 .add_generation_prompt = json_is_true(prompt),
                                 .variables = json_is_null(variables) ? NULL : variables,
                                 .now = o->fixed_now ? &o->now : NULL};
    static const char *const added[] = {"text", "error", "error_kind", "error_line"};
    grpo_template_result result;
    grpo_status status = grpo_template_render_messages(o->template, &input, &result, err);
    if (status != GRPO_OK && !result.error)
        return status;
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        json_object_del(object, added[i]);
    status = result.error ? put_error(object, &result, err)
                          : put(object, "text", json_stringn(result.text, result.length), err);
    grpo_template_result_deinit(&result);
    return status;
}

static grpo_status open_template(options *o, const char *model, const char *file, grpo_error *err)
{
    if (file) {
        char *text;
        size_t length;
        grpo_status status = file_read(&text, &length, file, MAX_TEMPLATE, err);
        if (status != GRPO_OK)
            return status;
        status = grpo_template_create(&o->template, text, length, err);
        mem_free(text);
        return grpo_error_prefix(err, status, "%s", file);
    }
    grpo_tokenizer *tokenizer;
    grpo_status status = grpo_tokenizer_open(&tokenizer, model, err);
    if (status != GRPO_OK)
        return status;
    status = grpo_template_of_tokenizer(&o->template, tokenizer, err);
    grpo_tokenizer_destroy(tokenizer);
    return grpo_error_prefix(err, status, "%s", model);
}

/* "2025-03-09 14:05:07", with the day of the week and of the year filled in. */
static int parse_now(const char *text, struct tm *now)
{
    int used = 0;
    memset(now, 0, sizeof *now);
    if (sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d%n", &now->tm_year, &now->tm_mon, &now->tm_mday, &now->tm_hour,
               &now->tm_min, &now->tm_sec, &used) != 6 ||
        text[used])
        return -1;
    now->tm_year -= 1900;
    now->tm_mon -= 1;
    struct tm given = *now;
    timegm(now); /* normalises, which no valid date needs */
    return given.tm_year == now->tm_year && given.tm_mon == now->tm_mon && given.tm_mday == now->tm_mday &&
                   given.tm_hour == now->tm_hour && given.tm_min == now->tm_min && given.tm_sec == now->tm_sec
               ? 0
               : -1;
}

int cmd_template(int argc, char **argv)
{
    enum { MODEL = 256, TEMPLATE, NOW, SHOW_HELP };
    static const struct option known[] = {{"model", required_argument, NULL, MODEL},
                                          {"template", required_argument, NULL, TEMPLATE},
                                          {"now", required_argument, NULL, NOW},
                                          {"help", no_argument, NULL, SHOW_HELP},
                                          {NULL, 0, NULL, 0}};
    options o = {0};
    const char *model = NULL, *file = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (option == MODEL)
            model = optarg;
        else if (option == TEMPLATE)
            file = optarg;
        else if (option == NOW && parse_now(optarg, &o.now) == 0)
            o.fixed_now = 1;
        else if (option == NOW)
            return args_usage("template", "--now wants a time such as \"2025-03-09 14:05:07\", got '%s'", optarg);
        else if (option == SHOW_HELP || option == 'h')
            return fputs(HELP, stdout) < 0;
        else
            return 2;
    }
    if (!model == !file)
        return args_usage("template", "exactly one of --model and --template is needed");
    if (argc - optind > 1)
        return args_usage("template", "there is more than one FILE");
    grpo_error err = {0};
    if (open_template(&o, model, file, &err) != GRPO_OK)
        return jsonl_fail("template", &err);
    int code = jsonl_run("template", argv[optind], render, &o);
    grpo_template_destroy(o.template);
    return code;
}
