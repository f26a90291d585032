/* grpo score: rewards of recorded answers, offline. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "reward/reward_kinds.h"

static const char HELP[] =
    "usage: grpo score --reward SPEC [--weight W] [--reward SPEC ...] [options] [FILE]\n\n"
    "Reads one JSON object a line, from FILE or stdin: \"completion\" is the model's text (or messages, of which the last\n"
    "counts), \"answer\" the reference.\n"
    "Writes it with \"reward\" (null where it could not be scored), the \"parts\" of several rewards by name, and what\n"
    "a kind of reward adds. With --reward math and a field \"gold\", \"gold\" is the reference, \"answer\" the model's\n"
    "whole text, and \"correct\" is added: true, false, or null for what cannot be verified. With --reward code the\n"
    "program is the field \"file\" or \"program\", else the completion's last fenced block, else prompt and completion joined.\n\n"
    "  --reward SPEC     a reward; may be given several times\n"
    "  --weight W        weight of the reward before it (default 1)\n"
    "  --name NAME       name of the reward before it\n"
    "  --when FIELD=V    count the reward before it only for records with this value\n"
    "  --gate X          where the reward before it is below X, the others count 0\n"
    "  --timeout S       seconds that the reward before it may take: one answer of a program, one request (30)\n"
    "  --workers N       copies of the program before it (1), requests to the server before it at once (4)\n"
    "  --at-once N       records that the program before it gets ahead (1), that a request holds (64)\n"
    "  --attempts N      of a request that fails (4)\n"
    "  --explain         add \"explain\": what was extracted, how it was read, why it was judged so\n"
    "  --field NAME      field that holds the model's text (default completion); code takes the program out of it alone then,\n"
    "                    as training does\n"
    "  --base DIR        folder that file names in records are relative to\n"
    "  --test-timeout S  seconds that one test of a program may run\n"
    "  --memory SIZE     memory that a program may use, such as 512M or 2G\n"
    "  --unsafe          run programs without a sandbox where none can be had\n"
    "  --threads N       for rewards that compute in parallel (default: all cores)\n"
    "  --batch N         records scored at once (default 64)\n\n"
    "Rewards:\n";

enum { MAX_REWARDS = 32, MOST_AT_ONCE = 65536 };

typedef struct options {
    grpo_reward_item items[MAX_REWARDS];
    size_t count;
    grpo_reward_options reward;
    long batch;
    int explain;
    int math; /* one of the rewards is math: "gold" has a meaning */
    int text_elsewhere; /* one of the rewards may find what it scores in other fields than the completion's */
    grpo_reward_set *set;
} options;

/* ---- records ------------------------------------------------------------------------------ */

/* A text field; numbers are taken as their text (kept in *owned). NULL when it is neither. */
static const char *text_field(const json_t *object, const char *name, size_t *length, char **owned)
{
    const json_t *value = json_object_get(object, name);
    *length = 0;
    if (json_is_string(value)) {
        *length = json_string_length(value);
        return json_string_value(value);
    }
    if (!json_is_number(value) || !(*owned = json_text(value)))
        return NULL;
    *length = strlen(*owned);
    return *owned;
}

/* The text of a completion given as messages: the last one's content. */
static const char *message_text(const json_t *value, size_t *length)
{
    const json_t *last = json_is_array(value) ? json_array_get(value, json_array_size(value) - 1) : NULL;
    const json_t *content = json_object_get(last, "content");
    *length = json_string_length(content);
    return json_string_value(content);
}

static const char *kind_of(const json_t *value)
{
    if (!value)
        return "missing (--field names another)";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return json_array_size(value) ? "a list whose last item has no text as its \"content\"" : "an empty list";
    case JSON_TRUE: return "true";
    case JSON_FALSE: return "false";
    default: return "null";
    }
}

/* Without the model's text most rewards would be those of an empty answer. */
static grpo_status need_completion(const options *o, const grpo_reward_record *r, const json_t *value, const char *field,
                                   grpo_error *err)
{
    if (r->completion || (o->text_elsewhere && (!value || json_is_null(value))))
        return GRPO_OK;
    return grpo_fail(err, GRPO_ERR_FORMAT, "\"%s\" must be the model's text, or messages of which the last is: it is %s", field,
                     kind_of(value));
}

static grpo_status read_record(const options *o, const json_t *object, grpo_reward_record *r, char *owned[2], grpo_error *err)
{
    const char *field = o->reward.field ? o->reward.field : "completion";
    memset(r, 0, sizeof *r);
    r->fields = object;
    r->prompt = text_field(object, "prompt", &r->prompt_length, &owned[0]);
    mem_free(owned[0]);
    if (owned[0])
        r->prompt = NULL, r->prompt_length = 0;
    owned[0] = NULL;
    if (o->math && json_object_get(object, "gold")) {
        r->completion = text_field(object, "answer", &r->completion_length, &owned[0]);
        r->answer = text_field(object, "gold", &r->answer_length, &owned[1]);
        return need_completion(o, r, json_object_get(object, "answer"), "answer", err);
    }
    r->completion = text_field(object, field, &r->completion_length, &owned[0]);
    if (!r->completion)
        r->completion = message_text(json_object_get(object, field), &r->completion_length);
    r->answer = text_field(object, "answer", &r->answer_length, &owned[1]);
    return need_completion(o, r, json_object_get(object, field), field, err);
}

/* ---- output ---------------------------------------------------------------------------------- */

static int put_parts(const options *o, json_t *object, const reward_score *scores)
{
    json_t *parts = json_object(), *problems = json_object();
    int failed = !parts || !problems;
    for (size_t i = 0; i < o->count && !failed; i++) {
        const char *name = grpo_reward_set_name(o->set, i);
        failed = json_object_set_new(parts, name, json_number_or_null(scores[i].value)) != 0;
        if (scores[i].problem[0])
            failed |= json_object_set_new(problems, name, json_string_lossy(scores[i].problem, strlen(scores[i].problem))) != 0;
    }
    failed |= json_object_set_new(object, "parts", parts) != 0;
    if (json_object_size(problems))
        failed |= json_object_set(object, "unscored", problems) != 0;
    json_decref(problems);
    return failed;
}

/* Details of one reward become fields; of several, the explanations stand under the rewards' names. */
static int put_details(const options *o, json_t *object, const reward_score *scores)
{
    json_t *explain = json_object();
    int failed = !explain;
    for (size_t i = 0; i < o->count && !failed; i++) {
        json_t *own = json_object_get(scores[i].details, "explain");
        if (own) {
            failed |= json_object_set(explain, grpo_reward_set_name(o->set, i), own) != 0;
            json_object_del(scores[i].details, "explain");
        }
        if (scores[i].details)
            failed |= json_object_update(object, scores[i].details) != 0;
    }
    if (o->explain)
        failed |= json_object_set(object, "explain", explain) != 0;
    json_decref(explain);
    return failed;
}

static grpo_status score_batch(void *context, json_t **objects, size_t n, size_t *bad, grpo_error *err)
{
    const options *o = context;
    grpo_reward_record *records = mem_calloc(n, sizeof *records);
    reward_score *scores = mem_calloc(n * o->count, sizeof *scores);
    double *total = mem_calloc(n, sizeof *total);
    char *(*owned)[2] = mem_calloc(n, sizeof *owned);
    grpo_status status = records && scores && total && owned ? GRPO_OK : mem_fail(err, "a batch of records", n * sizeof *records);
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        if ((status = read_record(o, objects[i], &records[i], owned[i], err)) != GRPO_OK)
            *bad = i;
    if (status == GRPO_OK)
        status = reward_set_score_details(o->set, records, n, scores, total, o->explain ? REWARD_EXPLAIN : REWARD_FIELDS, err);
    for (size_t i = 0; i < n && status == GRPO_OK; i++) {
        static const char *const added[] = {"reward", "parts", "unscored", "explain", "correct"};
        for (size_t k = 0; k < sizeof added / sizeof *added; k++)
            json_object_del(objects[i], added[k]);
        int failed = json_object_set_new(objects[i], "reward", json_number_or_null(total[i])) != 0;
        failed |= put_parts(o, objects[i], scores + i * o->count);
        failed |= put_details(o, objects[i], scores + i * o->count);
        if (o->math && !json_object_get(objects[i], "gold"))
            json_object_del(objects[i], "correct");
        if (failed) {
            *bad = i;
            status = mem_fail(err, "a line of output", 0);
        }
    }
    for (size_t i = 0; scores && i < n * o->count; i++)
        json_decref(scores[i].details);
    for (size_t i = 0; owned && i < n; i++) {
        mem_free(owned[i][0]);
        mem_free(owned[i][1]);
    }
    mem_free(records);
    mem_free(scores);
    mem_free(total);
    mem_free(owned);
    return status;
}

/* ---- options ---------------------------------------------------------------------------------- */

/* An option that belongs to the reward before it. */
static void set_item_option(options *o, args_check *check, int option, const char *name, const char *value)
{
    if (o->count == 0) {
        if (!check->code)
            check->code = args_usage(check->command, "%s belongs to the --reward before it, and there is none", name);
        return;
    }
    grpo_reward_item *item = &o->items[o->count - 1];
    switch (option) {
    case 'w': item->weight = args_real(check, name, value, -1e6, 1e6); break;
    case 'g':
        item->is_gate = 1;
        item->gate = args_real(check, name, value, -1e6, 1e6);
        break;
    case 'o': item->timeout = args_real(check, name, value, 0.001, 86400); break;
    case 'k': item->workers = (int)args_whole(check, name, value, 1, MOST_AT_ONCE); break;
    case 'a': item->at_once = (int)args_whole(check, name, value, 1, MOST_AT_ONCE); break;
    case 'A': item->attempts = (int)args_whole(check, name, value, 1, MOST_AT_ONCE); break;
    case 'n': item->name = value; break;
    default: item->when = value;
    }
}

static void add_reward(options *o, args_check *check, const char *spec)
{
    static const char *const free_kinds[] = {"code", "command", "library", "http", "https"}; /* a program's file, any record */
    char kind[32];
    if (o->count == MAX_REWARDS) {
        if (!check->code)
            check->code = args_usage(check->command, "there are more than %d rewards", MAX_REWARDS);
        return;
    }
    o->items[o->count++] = (grpo_reward_item){.spec = spec, .weight = 1};
    reward_kind_of(kind, spec);
    o->math |= strcmp(kind, "math") == 0;
    for (size_t i = 0; i < sizeof free_kinds / sizeof *free_kinds; i++)
        o->text_elsewhere |= strcmp(kind, free_kinds[i]) == 0;
}

/* name: "--batch". */
static void read_option(options *o, args_check *check, int option, const char *name, const char *value)
{
    switch (option) {
    case 'r': add_reward(o, check, value); break;
    case 'e': o->explain = 1; break;
    case 'f': o->reward.field = value; break;
    case 'b': o->reward.base = value; break;
    case 't': o->reward.test_timeout = args_real(check, name, value, 0.001, 3600); break;
    case 'm': o->reward.memory = args_bytes(check, name, value); break;
    case 'u': o->reward.unsafe = 1; break;
    case 'T': o->reward.threads = (int)args_whole(check, name, value, 1, ARGS_MOST_THREADS); break;
    case 'B': o->batch = (int)args_whole(check, name, value, 1, MOST_AT_ONCE); break;
    default: set_item_option(o, check, option, name, value);
    }
}

static void print_help(void)
{
    fputs(HELP, stdout);
#define X(name, create, summary) printf("  %-11s %s\n", name, summary);
#include "reward/reward_kinds.def"
#undef X
}

int cmd_score(int argc, char **argv)
{
    static const struct option known[] = {
        {"reward", required_argument, NULL, 'r'}, {"weight", required_argument, NULL, 'w'},
        {"name", required_argument, NULL, 'n'},   {"when", required_argument, NULL, 'W'},
        {"gate", required_argument, NULL, 'g'},   {"explain", no_argument, NULL, 'e'},
        {"timeout", required_argument, NULL, 'o'}, {"workers", required_argument, NULL, 'k'},
        {"at-once", required_argument, NULL, 'a'}, {"attempts", required_argument, NULL, 'A'},
        {"field", required_argument, NULL, 'f'},  {"base", required_argument, NULL, 'b'},
        {"test-timeout", required_argument, NULL, 't'}, {"memory", required_argument, NULL, 'm'},
        {"unsafe", no_argument, NULL, 'u'},       {"threads", required_argument, NULL, 'T'},
        {"batch", required_argument, NULL, 'B'},  {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    options o = {.batch = 64, .reward.programs_in_records = 1};
    int option;
    int which;
    args_check check = {"score", 0};
    while ((option = getopt_long(argc, argv, "h", known, &which)) != -1) {
        char name[32];
        if (option == 'h')
            return print_help(), 0;
        if (option == '?')
            return 2;
        snprintf(name, sizeof name, "--%s", known[which].name);
        read_option(&o, &check, option, name, optarg);
    }
    if (check.code)
        return check.code;
    if (o.count == 0)
        return args_usage("score", "--reward is missing");
    if (argc - optind > 1)
        return args_usage("score", "more than one FILE");
    grpo_error err = {0};
    if (grpo_reward_set_create(&o.set, o.items, o.count, &o.reward, &err) != GRPO_OK)
        return jsonl_fail("score", &err);
    if (grpo_reward_set_warning(o.set))
        fprintf(stderr, "grpo score: WARNING: %s\n", grpo_reward_set_warning(o.set));
    int code = jsonl_run_batches("score", argv[optind], (size_t)o.batch, score_batch, &o);
    grpo_reward_set_destroy(o.set);
    return code;
}
