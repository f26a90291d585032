/* grpo generate: answers to prompts. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "cli/session.h"
#include "rollout/group_sample.h"

static const char HELP[] =
    "usage: grpo generate --model M [--adapter DIR] [options] [TEXT | FILE.jsonl]\n\n"
    "Answers prompts. TEXT is one user message, whose answer is printed as it is drawn (with --n or --logprobs as\n"
    "one JSON line, when complete). Otherwise JSON lines from FILE or stdin, {\"prompt\": text or messages},\n"
    "{\"messages\": [...]} or {\"ids\": [...]}, get \"completion\", \"completion_ids\" and \"finish\" added, with --n above 1\n"
    "\"completions\", a list of such objects. All lines are read first; each is printed as soon as it and those before it\n"
    "are complete.\n\n"
    "  --adapter DIR        a LoRA adapter (PEFT folder, or run folder of `grpo train`) beside the model\n"
    "  --n N                answers per prompt (default 1)\n"
    "  --greedy             the most probable token each time\n"
    "  --temperature T      default 1\n"
    "  --top-p P, --top-k K, --min-p P\n"
    "  --max-new-tokens N   default 256\n"
    "  --min-new-tokens N   no end before so many\n"
    "  --ignore-eos         end-of-sequence tokens end nothing\n"
    "  --stop TEXT          ends an answer (may be given several times)\n"
    "  --seed S             default 0; the same seed gives the same answers, in any batch\n"
    "  --logprobs           adds \"logprobs\" of the drawn tokens, and \"prompt_ids\"\n"
    "  --raw                prompts are raw text, not user messages\n"
    "  --slots N            answers decoded at once (default 32)\n"
    "  --precision P        f32, bf16_weights (half the memory), bf16 (products too), bf16_amx (in AMX's order), default\n"
    "                       auto: as the file stores them\n"
    "  --threads N          default: all cores\n";

enum { MOST_STOPS = 32 };

static volatile sig_atomic_t interrupt_flag;

static void on_signal(int number)
{
    interrupt_flag = 1;
    signal(number, SIG_DFL);
}

typedef struct arguments {
    session_options session;
    sampling sampling;
    const char *stop[MOST_STOPS];
    size_t n_stop;
    int n, logprobs, raw, ignore_eos;
} arguments;

typedef struct request {
    json_t *object; /* NULL: a text from the command line */
    int32_t *ids;
    size_t n;
} request;

/* The one answer that is shown while it is drawn. */
typedef struct terminal {
    grpo_stream *stream; /* NULL: answers are printed as lines, when complete */
    strbuf text;
    size_t printed;
} terminal;

/* The lines that are printed when complete, in the order of the input. */
typedef struct line_queue {
    request *requests;     /* NULL: none */
    rollout_group *groups; /* [count], as the requests */
    int *left;             /* [count] answers still being drawn */
    size_t count, next;    /* next: first that is not printed */
} line_queue;

typedef struct work {
    const arguments *a;
    session s;
    stop_strings stop;
    terminal terminal;
    line_queue lines;
    grpo_error failure; /* of printing; status GRPO_OK: none */
} work;

/* ---- prompts --------------------------------------------------------------------------------------------------------- */

static grpo_status encode_user_text(work *w, const char *text, size_t length, request *r, grpo_error *err)
{
    int32_t *ids;
    grpo_status status;
    if (w->a->raw || !w->s.lm.chat) {
        status = language_model_encode_text(&w->s.lm, text, length, &ids, &r->n, err);
    } else {
        json_t *messages = json_pack("[{s:s,s:s%}]", "role", "user", "content", text, length);
        status = messages ? language_model_encode_messages(&w->s.lm, messages, &ids, &r->n, err)
                          : grpo_fail(err, GRPO_ERR_FORMAT, "the prompt is not UTF-8");
        json_decref(messages);
    }
    r->ids = status == GRPO_OK ? ids : NULL;
    return status;
}

static grpo_status read_id_list(work *w, const json_t *list, request *r, grpo_error *err)
{
    r->n = json_array_size(list);
    r->ids = mem_calloc(r->n + 1, sizeof *r->ids);
    if (!r->ids)
        return mem_fail(err, "token ids", r->n * sizeof *r->ids);
    for (size_t i = 0; i < r->n; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= w->s.lm.m->config.vocab)
            return grpo_fail(err, GRPO_ERR_FORMAT, "\"ids\" must be integers from 0 to %d",
                             w->s.lm.m->config.vocab - 1);
        r->ids[i] = (int32_t)json_integer_value(x);
    }
    return GRPO_OK;
}

static grpo_status read_prompt(work *w, request *r, grpo_error *err)
{
    const json_t *ids = json_object_get(r->object, "ids"), *messages = json_object_get(r->object, "messages"),
                 *prompt = json_object_get(r->object, "prompt");
    if (ids && !json_is_array(ids) && !json_is_null(ids))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"ids\" must be a list of token ids");
    if (json_is_array(ids))
        return read_id_list(w, ids, r, err);
    if (!messages && json_is_array(prompt))
        messages = prompt;
    if (json_is_array(messages))
        return language_model_encode_messages(&w->s.lm, messages, &r->ids, &r->n, err);
    if (!json_is_string(prompt))
        return grpo_fail(err, GRPO_ERR_FORMAT, "an object needs \"prompt\", \"messages\" or \"ids\"");
    return encode_user_text(w, json_string_value(prompt), json_string_length(prompt), r, err);
}

static grpo_status check_length(const work *w, const request *r, grpo_error *err)
{
    size_t context = (size_t)w->s.lm.m->max_context;
    if (r->n == 0)
        return grpo_fail(err, GRPO_ERR_FORMAT, "the prompt has no token; an answer needs at least one before it");
    if (r->n >= context)
        return grpo_fail(err, GRPO_ERR_FORMAT, "the prompt has %zu tokens, which leaves no room in the model's context of %zu",
                         r->n, context);
    return GRPO_OK;
}

/* ---- answers ------------------------------------------------------------------------------------------------------------ */

static void flush_output(work *w)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && w->failure.status == GRPO_OK)
        grpo_fail(&w->failure, GRPO_ERR_IO, "cannot write the output: %s", strerror(errno));
}

/* Prints what cannot be the beginning of a stop string; all of it when the answer is complete. */
static void show_text(work *w, const char *text, size_t n, int complete)
{
    terminal *t = &w->terminal;
    strbuf_append(&t->text, text, n);
    if (t->text.failed && w->failure.status == GRPO_OK)
        mem_fail(&w->failure, "an answer's text", t->text.length + n);
    const size_t length = t->text.length, end = stop_strings_end(&w->stop, strbuf_text(&t->text), length);
    const size_t held = w->stop.count && !complete && end == length ? w->stop.longest - 1 : 0;
    if (end > t->printed + held) {
        fwrite(t->text.data + t->printed, 1, end - held - t->printed, stdout);
        t->printed = end - held;
    }
    flush_output(w);
}

/* After each token. An output that nobody takes ends all answers. */
static int reached_stop(void *context, const int32_t *token, int n)
{
    work *w = context;
    const char *text;
    size_t length;
    if (w->terminal.stream && grpo_stream_push(w->terminal.stream, token[n - 1], &text, &length, NULL) == GRPO_OK)
        show_text(w, text, length, 0);
    return w->failure.status != GRPO_OK || stop_strings_reached(&w->stop, token, n);
}

static grpo_status add_answer(work *w, json_t *object, const rollout_sample *s, json_t *texts, grpo_error *err)
{
    char *text = NULL; /* stays so without a tokenizer: prompts were ids, so are answers */
    size_t length;
    if (w->s.lm.tokenizer) {
        grpo_status status = language_model_answer_text(&w->s.lm, &w->stop, s->token, s->n, &text, &length, err);
        if (status != GRPO_OK)
            return status;
    }
    json_t *ids = json_array(), *logprobs = json_array();
    for (int i = 0; i < s->n; i++) {
        json_array_append_new(ids, json_integer(s->token[i]));
        json_array_append_new(logprobs, json_double(s->logprob[i]));
    }
    json_t *target = texts ? json_object() : object;
    if (text)
        json_object_set_new(target, "completion", json_string_lossy(text, length));
    else
        json_object_del(target, "completion"); /* of another answer */
    json_object_set_new(target, "completion_ids", ids);
    json_object_set_new(target, "finish", json_string(finish_reason_name(s->finish)));
    if (w->a->logprobs)
        json_object_set(target, "logprobs", logprobs);
    if (texts)
        json_array_append_new(texts, target);
    json_decref(logprobs);
    grpo_tokenizer_free_text(text);
    return GRPO_OK;
}

static grpo_status print_line(work *w, request *r, const rollout_group *g, grpo_error *err)
{
    json_t *texts = w->a->n > 1 ? json_array() : NULL;
    grpo_status status = GRPO_OK;
    for (int i = 0; i < g->n_samples && status == GRPO_OK; i++)
        status = add_answer(w, r->object, &g->samples[i], texts, err);
    if (texts)
        json_object_set_new(r->object, "completions", texts);
    if (w->a->logprobs) { /* with these, the line is a group that `grpo train` can learn from */
        json_t *ids = json_array();
        for (int i = 0; i < g->prompt_length; i++)
            json_array_append_new(ids, json_integer(g->prompt[i]));
        json_object_set_new(r->object, "prompt_ids", ids);
    }
    char *line = status == GRPO_OK ? json_text(r->object) : NULL;
    if (status == GRPO_OK && !line)
        status = mem_fail(err, "a line of output", 0);
    if (line)
        puts(line);
    mem_free(line);
    return status;
}

/* An answer is complete: its line may be, and those that waited for it. */
static void answer_finished(void *context, const rollout_group *group, int sample)
{
    (void)sample;
    work *w = context;
    line_queue *q = &w->lines;
    if (!q->requests)
        return;
    q->left[group - q->groups]--;
    const size_t first = q->next;
    while (q->next < q->count && q->left[q->next] == 0 && w->failure.status == GRPO_OK) {
        print_line(w, &q->requests[q->next], &q->groups[q->next], &w->failure);
        q->next++;
    }
    if (q->next > first)
        flush_output(w);
}

static grpo_status answer_all(work *w, request *requests, size_t count, grpo_error *err)
{
    rollout_group *groups = mem_calloc(count, sizeof *groups);
    int *left = mem_calloc(count, sizeof *left);
    grpo_status status = groups && left ? GRPO_OK : mem_fail(err, "prompts", count * sizeof *groups);
    for (size_t i = 0; i < count && status == GRPO_OK; i++) {
        left[i] = w->a->n;
        groups[i] = (rollout_group){.prompt = requests[i].ids,
                                    .prompt_length = (int)requests[i].n,
                                    .id = i,
                                    .n_samples = w->a->n};
    }
    if (!w->terminal.stream)
        w->lines = (line_queue){requests, groups, left, count, 0};
    rollout_options o = {.sampling = w->a->sampling,
                         .eos = w->s.lm.eos,
                         .n_eos = w->s.lm.n_eos,
                         .slots = w->a->session.slots,
                         .stop = reached_stop,
                         .finished = answer_finished,
                         .context = w};
    rollout_counts counts;
    if (status == GRPO_OK) {
        status = group_sample(&w->s.e, &w->s.lm.m->weights, groups, (int)count, &o, &counts, err);
        rollout_release(&w->s.e, groups, (int)count);
    }
    if (w->failure.status != GRPO_OK) {
        *err = w->failure;
        status = err->status;
    }
    mem_free(groups);
    mem_free(left);
    return status;
}

/* ---- input ---------------------------------------------------------------------------------------------------------------- */

typedef struct request_list {
    request *items;
    size_t count, capacity;
} request_list;

static grpo_status read_lines(work *w, FILE *in, const char *name, request_list *list, grpo_error *err)
{
    file_lines lines = {.stream = in, .name = name};
    grpo_status status = GRPO_OK;
    int more;
    while (status == GRPO_OK && (more = file_next_line(&lines, err)) != 0) {
        char where[300];
        snprintf(where, sizeof where, "%s:%ld", name, lines.number);
        if (more < 0) {
            status = GRPO_ERR_IO;
        } else if (strspn(lines.line, " \t") < lines.length) {
            if (mem_reserve((void **)&list->items, &list->capacity, list->count + 1, sizeof *list->items) != 0) {
                status = mem_fail(err, "prompts", 0);
                break;
            }
            request *r = &list->items[list->count++];
            memset(r, 0, sizeof *r);
            status = json_parse(&r->object, lines.line, lines.length, where, err);
            if (status == GRPO_OK && !json_is_object(r->object))
                status = grpo_fail(err, GRPO_ERR_FORMAT, "%s: an object is needed", where);
            else if (status == GRPO_OK && ((status = read_prompt(w, r, err)) != GRPO_OK ||
                                           (status = check_length(w, r, err)) != GRPO_OK))
                grpo_error_prefix(err, status, "%s", where);
        }
    }
    file_lines_deinit(&lines);
    return status;
}

static grpo_status answer_text(work *w, const char *text, grpo_error *err)
{
    request r = {0};
    grpo_status status = language_model_need_text(&w->s.lm, err);
    if (status == GRPO_OK)
        status = encode_user_text(w, text, strlen(text), &r, err);
    if (status == GRPO_OK)
        status = check_length(w, &r, err);
    int streams = w->a->n == 1 && !w->a->logprobs; /* else the text is answered as the record {"prompt": text} */
    if (status == GRPO_OK && !streams && !(r.object = json_pack("{s:s}", "prompt", text)))
        status = grpo_fail(err, GRPO_ERR_FORMAT, "the prompt is not UTF-8");
    grpo_stream **stream = &w->terminal.stream;
    if (status == GRPO_OK && streams)
        status = grpo_stream_create(stream, w->s.lm.tokenizer, 1, err);
    if (status == GRPO_OK)
        status = answer_all(w, &r, 1, err);
    const char *rest;
    size_t length;
    if (*stream && grpo_stream_finish(*stream, &rest, &length, NULL) == GRPO_OK)
        show_text(w, rest, length, 1);
    if (*stream)
        putchar('\n');
    grpo_stream_destroy(*stream);
    strbuf_deinit(&w->terminal.text);
    json_decref(r.object);
    grpo_tokenizer_free_ids(r.ids);
    return status;
}

static grpo_status answer_file(work *w, const char *path, grpo_error *err)
{
    request_list list = {0};
    FILE *in = path && strcmp(path, "-") != 0 ? fopen(path, "r") : stdin;
    if (!in)
        return grpo_fail(err, GRPO_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    grpo_status status = read_lines(w, in, in == stdin ? "stdin" : path, &list, err);
    if (status == GRPO_OK && list.count > 0)
        status = answer_all(w, list.items, list.count, err);
    for (size_t i = 0; i < list.count; i++) {
        json_decref(list.items[i].object);
        mem_free(list.items[i].ids);
    }
    mem_free(list.items);
    if (in != stdin)
        fclose(in);
    return status;
}

/* A name that ends in .json or .jsonl is a file's, also where there is none: a mistyped one is no prompt. */
static int is_text(const char *input)
{
    const char *dot = input ? strrchr(input, '.') : NULL;
    return input && strcmp(input, "-") != 0 && !file_exists(input) &&
           !(dot && (strcmp(dot, ".jsonl") == 0 || strcmp(dot, ".json") == 0));
}

static grpo_status run(const arguments *a, const char *input, grpo_error *err)
{
    work w = {.a = a};
    grpo_status status = session_open(&w.s, &a->session, err);
    if (status != GRPO_OK)
        return status;
    stop_strings_init(&w.stop, &w.s.lm, a->stop, a->n_stop);
    w.s.e.interrupt = &interrupt_flag;
    signal(SIGINT, on_signal);
    if (a->ignore_eos)
        w.s.lm.n_eos = 0;
    if (a->n_stop)
        status = language_model_need_text(&w.s.lm, err);
    if (status == GRPO_OK)
        status = is_text(input) ? answer_text(&w, input, err) : answer_file(&w, input, err);
    flush_output(&w);
    if (status == GRPO_OK && w.failure.status != GRPO_OK) {
        *err = w.failure;
        status = err->status;
    }
    session_close(&w.s);
    return status;
}

static int parse(arguments *a, int argc, char **argv)
{
    enum { MODEL = 1, ADAPTER, N, GREEDY, TEMPERATURE, TOP_P, TOP_K, MIN_P, MAX, MIN, IGNORE_EOS, STOP, SEED, LOGPROBS, RAW, SLOTS,
           THREADS, PRECISION, HELP_FLAG };
    static const struct option options[] = {
        {"model", 1, NULL, MODEL},     {"adapter", 1, NULL, ADAPTER},
        {"n", 1, NULL, N},
        {"greedy", 0, NULL, GREEDY},   {"temperature", 1, NULL, TEMPERATURE},
        {"top-p", 1, NULL, TOP_P},     {"top-k", 1, NULL, TOP_K},
        {"min-p", 1, NULL, MIN_P},     {"max-new-tokens", 1, NULL, MAX},
        {"min-new-tokens", 1, NULL, MIN}, {"stop", 1, NULL, STOP},
        {"ignore-eos", 0, NULL, IGNORE_EOS},
        {"seed", 1, NULL, SEED},       {"logprobs", 0, NULL, LOGPROBS},
        {"raw", 0, NULL, RAW},         {"slots", 1, NULL, SLOTS},
        {"threads", 1, NULL, THREADS}, {"precision", 1, NULL, PRECISION},
        {"help", 0, NULL, HELP_FLAG},  {NULL, 0, NULL, 0},
    };
    args_check check = {.command = "generate"};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case MODEL: a->session.model = optarg; break;
        case ADAPTER: a->session.adapter = optarg; break;
        case N: a->n = (int)args_whole(&check, "--n", optarg, 1, ARGS_MOST); break;
        case GREEDY: a->sampling.temperature = 0; break;
        case TEMPERATURE: a->sampling.temperature = args_real(&check, "--temperature", optarg, 0, 1e6); break;
        case TOP_P: a->sampling.top_p = args_real(&check, "--top-p", optarg, 1e-9, 1); break;
        case TOP_K: a->sampling.top_k = (int)args_whole(&check, "--top-k", optarg, 0, ARGS_MOST); break;
        case MIN_P: a->sampling.min_p = args_real(&check, "--min-p", optarg, 0, 1); break;
        case MAX: a->sampling.max_new_tokens = (int)args_whole(&check, "--max-new-tokens", optarg, 1, ARGS_MOST); break;
        case IGNORE_EOS: a->ignore_eos = 1; break;
        case MIN: a->sampling.min_new_tokens = (int)args_whole(&check, "--min-new-tokens", optarg, 0, ARGS_MOST); break;
        case STOP:
            if (a->n_stop == MOST_STOPS || !*optarg)
                return args_usage("generate", "--stop wants a text, and %d of them at most", MOST_STOPS);
            a->stop[a->n_stop++] = optarg;
            break;
        case SEED: a->sampling.seed = args_seed(&check, optarg); break;
        case LOGPROBS: a->logprobs = 1; break;
        case RAW: a->raw = 1; break;
        case SLOTS: a->session.slots = (int)args_whole(&check, "--slots", optarg, 1, 1 << 16); break;
        case THREADS: a->session.threads = (int)args_whole(&check, "--threads", optarg, 0, ARGS_MOST_THREADS); break;
        case PRECISION:
            if (session_parse_precision(&a->session.precision, "generate", optarg) != 0)
                return 2;
            break;
        case HELP_FLAG: fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    return check.code ? check.code : -1;
}

int cmd_generate(int argc, char **argv)
{
    arguments a = {.session = {.slots = 32}, .n = 1,
                   .sampling = {.temperature = 1, .top_p = 1, .max_new_tokens = 256}};
    int code = parse(&a, argc, argv);
    if (code >= 0)
        return code;
    if (!a.session.model)
        return args_usage("generate", "--model is missing");
    if (argc - optind > 1)
        return args_usage("generate", "there is more than one TEXT or FILE (put a text of several words in quotes)");
    const char *input = optind < argc ? argv[optind] : NULL;
    grpo_error err = {0};
    return run(&a, input, &err) == GRPO_OK ? 0 : jsonl_fail("generate", &err);
}
