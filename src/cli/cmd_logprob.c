/* grpo logprob: log-probabilities of given tokens. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "cli/session.h"
#include "model/scalar_head.h"

static const char HELP[] =
    "usage: grpo logprob --model M [--adapter DIR] [options] [FILE]\n\n"
    "Reads one JSON object a line, from FILE or stdin: {\"ids\": [...]}, or {\"messages\": [...]}, or {\"prompt\",\n"
    "\"completion\"} (raw text). Adds \"logprobs\": the natural logarithm of each token's probability given those\n"
    "before it; one fewer than ids, for a completion its tokens only. For messages and texts \"ids\" is added too.\n\n"
    "  --adapter DIR     a LoRA adapter (PEFT folder, or run folder of `grpo train`) beside the model\n"
    "  --temperature T   of the distribution (default 1)\n"
    "  --entropy         adds \"entropy\" of each of those distributions, in nats\n"
    "  --logits          adds \"logits\", [tokens][vocabulary], at temperature 1 (for tiny models)\n"
    "  --score           adds \"score\": what a sequence-classification head says of the sequence; a head on every\n"
    "                    token adds \"values\" (--values is the same). Models with such heads have no log-probs\n"
    "  --precision P     f32, bf16_weights (half the memory), bf16 (products too), bf16_amx (in AMX's order), default\n"
    "                    auto: as the file stores them\n"
    "  --threads N       default: all cores\n";

typedef struct options {
    session s;
    double temperature;
    int entropy, logits, score;
} options;

enum { MOST_LOGITS = 1 << 24 };

/* ---- input ----------------------------------------------------------------------------------------------------- */

typedef struct sequence {
    int32_t *ids;
    size_t n, from; /* log-probs of tokens [from, n) are asked for */
    int made;       /* ids come from a text and are shown */
} sequence;

static grpo_status read_ids(sequence *s, const json_t *list, int vocab, grpo_error *err)
{
    s->n = json_array_size(list);
    s->from = 1;
    s->ids = mem_calloc(s->n + 1, sizeof *s->ids);
    if (!s->ids)
        return mem_fail(err, "token ids", s->n * sizeof *s->ids);
    for (size_t i = 0; i < s->n; i++) {
        const json_t *x = json_array_get(list, i);
        if (!json_is_integer(x) || json_integer_value(x) < 0 || json_integer_value(x) >= vocab)
            return grpo_fail(err, GRPO_ERR_FORMAT, "\"ids\" must be integers from 0 to %d", vocab - 1);
        s->ids[i] = (int32_t)json_integer_value(x);
    }
    return GRPO_OK;
}

static grpo_status append_ids(sequence *s, const int32_t *ids, size_t n, grpo_error *err)
{
    int32_t *grown = mem_realloc(s->ids, s->n + n + 1, sizeof *grown);
    if (!grown)
        return mem_fail(err, "token ids", n * sizeof *ids);
    memcpy(grown + s->n, ids, n * sizeof *ids);
    s->ids = grown;
    s->n += n;
    return GRPO_OK;
}

/* Prompt and completion are encoded apart: the boundary between them is a boundary between tokens. */
static grpo_status read_texts(sequence *s, const options *o, const json_t *object, grpo_error *err)
{
    const json_t *prompt = json_object_get(object, "prompt"), *completion = json_object_get(object, "completion");
    if (!json_is_string(prompt) || (completion && !json_is_string(completion)))
        return grpo_fail(err, GRPO_ERR_FORMAT,
                         "an object needs \"ids\", \"messages\", or the texts \"prompt\" and \"completion\"");
    int32_t *ids = NULL;
    size_t n = 0;
    grpo_status status = language_model_encode_text(&o->s.lm, json_string_value(prompt), json_string_length(prompt),
                                                    &ids, &n, err);
    if (status == GRPO_OK)
        status = append_ids(s, ids, n, err);
    grpo_tokenizer_free_ids(ids);
    s->made = 1;
    s->from = s->n > 0 && completion ? s->n : 1;
    if (status != GRPO_OK || !completion)
        return status;
    status = grpo_tokenizer_encode(o->s.lm.tokenizer, json_string_value(completion), json_string_length(completion), 0,
                                   &ids, &n, err);
    if (status == GRPO_OK)
        status = append_ids(s, ids, n, err);
    grpo_tokenizer_free_ids(ids);
    return status;
}

static grpo_status read_messages(sequence *s, const options *o, const json_t *messages, grpo_error *err)
{
    int32_t *ids;
    size_t n;
    grpo_status status = language_model_encode_conversation(&o->s.lm, messages, 0, &ids, &n, err);
    if (status != GRPO_OK)
        return status;
    status = append_ids(s, ids, n, err);
    grpo_tokenizer_free_ids(ids);
    s->made = 1;
    s->from = 1;
    return status;
}

static grpo_status read_sequence(sequence *s, const options *o, const json_t *object, grpo_error *err)
{
    const json_t *ids = json_object_get(object, "ids"), *messages = json_object_get(object, "messages");
    if (ids && !json_is_array(ids) && !json_is_null(ids))
        return grpo_fail(err, GRPO_ERR_FORMAT, "\"ids\" must be a list of token ids");
    if (json_is_array(ids))
        return read_ids(s, ids, o->s.lm.m->config.vocab, err);
    return messages && !json_is_null(messages) ? read_messages(s, o, messages, err) : read_texts(s, o, object, err);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static json_t *numbers(const float *x, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_double(x[i]));
    return list;
}

static void show_ids(json_t *object, const sequence *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(list, json_integer(s->ids[i]));
    json_object_set_new(object, "ids", list);
}

static grpo_status add_logprobs(options *o, const sequence *s, kv_sequence *kv, json_t *object, grpo_error *err)
{
    size_t n = s->n > s->from ? s->n - s->from : 0;
    float *logprob = mem_calloc(n + 1, sizeof *logprob), *entropy = mem_calloc(n + 1, sizeof *entropy);
    ops_softmax_row *stats = mem_calloc(n + 1, sizeof *stats);
    known_sequence known = {.token = s->ids,
                            .n = (int)s->n,
                            .run = (int)s->n - 1,
                            .kv = kv,
                            .score_from = (int)s->from,
                            .logprob = logprob,
                            .stats = stats};
    grpo_status status = logprob && entropy && stats ? GRPO_OK : mem_fail(err, "log-probs", n * sizeof *logprob);
    if (status == GRPO_OK && n > 0)
        status = engine_run(&o->s.e, &o->s.lm.m->weights, &known, 1, (float)(1 / o->temperature), o->entropy, NULL, err);
    if (status == GRPO_OK) {
        for (size_t i = 0; i < n; i++)
            entropy[i] = stats[i].entropy;
        json_object_set_new(object, "logprobs", numbers(logprob, n));
        if (o->entropy)
            json_object_set_new(object, "entropy", numbers(entropy, n));
    }
    mem_free(logprob);
    mem_free(entropy);
    mem_free(stats);
    return status;
}

/* Final hidden states of all positions, normed, in *h [n][hidden]. */
static grpo_status final_states(options *o, const sequence *s, kv_sequence *kv, float **h, grpo_error *err)
{
    const model_config *c = &o->s.lm.m->config;
    tape t;
    int32_t *row = mem_calloc(s->n + 1, sizeof *row);
    *h = mem_calloc(s->n * (size_t)c->hidden + 1, sizeof **h);
    grpo_status status = tape_init(&t, c, (int)s->n, 0, err);
    known_sequence known = {.token = s->ids, .n = (int)s->n, .run = (int)s->n, .kv = kv, .tape_row = row,
                            .score_from = (int)s->n};
    if (status == GRPO_OK && (!row || !*h))
        status = mem_fail(err, "hidden states", s->n * (size_t)c->hidden * sizeof **h);
    if (status == GRPO_OK)
        status = engine_run(&o->s.e, &o->s.lm.m->weights, &known, 1, 1, 0, &t, err);
    if (status == GRPO_OK)
        model_final_norm(o->s.lm.m, &o->s.lm.m->weights, o->s.threads, *h, t.layer[c->layers].x, (int)s->n);
    tape_deinit(&t);
    mem_free(row);
    return status;
}

static void add_logits(options *o, const sequence *s, const float *h, json_t *object)
{
    const model_config *c = &o->s.lm.m->config;
    json_t *list = json_array();
    for (size_t i = 0; i < s->n; i++) {
        ops_softmax_row stats;
        ops_head_logits(o->s.threads, o->s.lm.m->weights.head, h + i * (size_t)c->hidden, c->hidden, 1, o->s.e.z,
                        o->s.e.ldz, &stats, 0, 1, o->s.e.head_scratch);
        json_array_append_new(list, numbers(o->s.e.z, (size_t)c->vocab));
    }
    json_object_set_new(object, "logits", list);
}

/* Score and value heads: one number for the sequence, or one for each token. */
static grpo_status add_scores(options *o, const sequence *s, kv_sequence *kv, json_t *object, grpo_error *err)
{
    const model_config *c = &o->s.lm.m->config;
    tape t;
    int32_t *row = mem_calloc(s->n, sizeof *row);
    float *value = mem_calloc(s->n, sizeof *value);
    grpo_status status = tape_init(&t, c, (int)s->n, 0, err);
    known_sequence known = {.token = s->ids, .n = (int)s->n, .run = (int)s->n, .kv = kv, .tape_row = row,
                            .score_from = (int)s->n};
    if (status == GRPO_OK && (!row || !value))
        status = mem_fail(err, "scores", s->n * sizeof *value);
    if (status == GRPO_OK)
        status = scalar_head_run(&o->s.e, &o->s.lm.m->weights, &known, &value, 1, &t, err);
    if (status == GRPO_OK && c->head == MODEL_HEAD_TOKEN)
        json_object_set_new(object, "values", numbers(value, s->n));
    else if (status == GRPO_OK)
        json_object_set_new(object, "score", json_double((double)value[scalar_head_position(c, s->ids, (int)s->n)]));
    tape_deinit(&t);
    mem_free(row);
    mem_free(value);
    return status;
}

static grpo_status answer(options *o, const sequence *s, json_t *object, grpo_error *err)
{
    const model_config *c = &o->s.lm.m->config;
    kv_sequence kv;
    float *h = NULL;
    if (s->n == 0)
        return grpo_fail(err, GRPO_ERR_FORMAT, "there is no token");
    if (o->logits && s->n * (size_t)c->vocab > MOST_LOGITS)
        return grpo_fail(err, GRPO_ERR_USAGE, "--logits would print %zu numbers; it is meant for tiny models",
                         s->n * (size_t)c->vocab);
    grpo_status status = kv_sequence_init(&kv, (int)s->n, err);
    if (status == GRPO_OK && c->head == MODEL_HEAD_LM)
        status = add_logprobs(o, s, &kv, object, err);
    else if (status == GRPO_OK)
        status = add_scores(o, s, &kv, object, err);
    if (status == GRPO_OK && o->logits)
        status = final_states(o, s, &kv, &h, err);
    if (status == GRPO_OK && h)
        add_logits(o, s, h, object);
    if (status == GRPO_OK && s->made)
        show_ids(object, s);
    mem_free(h);
    kv_sequence_deinit(&o->s.e.kv, &kv);
    return status;
}

static grpo_status one_line(void *context, json_t *object, grpo_error *err)
{
    options *o = context;
    sequence s = {0};
    grpo_status status = read_sequence(&s, o, object, err);
    if (status == GRPO_OK)
        status = answer(o, &s, object, err);
    mem_free(s.ids);
    return status;
}

static grpo_status check_head(const options *o, const char *path, grpo_error *err)
{
    model_head head = o->s.lm.m->config.head;
    if (o->score && head == MODEL_HEAD_LM)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s has no score or value head (its architecture is a ForCausalLM)", path);
    if ((o->logits || o->entropy) && head != MODEL_HEAD_LM)
        return grpo_fail(err, GRPO_ERR_USAGE, "%s has a head of one number: there are no logits and no entropy", path);
    return GRPO_OK;
}

int cmd_logprob(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", required_argument, NULL, 'm'}, {"adapter", required_argument, NULL, 'A'},
        {"temperature", required_argument, NULL, 't'},
        {"entropy", no_argument, NULL, 'e'},     {"logits", no_argument, NULL, 'l'},
        {"score", no_argument, NULL, 's'},       {"values", no_argument, NULL, 's'},
        {"threads", required_argument, NULL, 'j'},
        {"precision", required_argument, NULL, 'p'}, {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    options o = {.temperature = 1};
    session_options how = {.slots = 1};
    args_check check = {.command = "logprob"};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'm': how.model = optarg; break;
        case 'A': how.adapter = optarg; break;
        case 't': o.temperature = args_real(&check, "--temperature", optarg, 1e-6, 1e6); break;
        case 'e': o.entropy = 1; break;
        case 'l': o.logits = 1; break;
        case 's': o.score = 1; break;
        case 'j': how.threads = (int)args_whole(&check, "--threads", optarg, 0, ARGS_MOST_THREADS); break;
        case 'p':
            if (session_parse_precision(&how.precision, "logprob", optarg) != 0)
                return 2;
            break;
        case 'h': fputs(HELP, stdout); return 0;
        default: return 2;
        }
    }
    if (check.code)
        return check.code;
    if (!how.model)
        return args_usage("logprob", "--model is missing");
    if (argc - optind > 1)
        return args_usage("logprob", "there is more than one FILE");
    grpo_error err = {0};
    if (session_open(&o.s, &how, &err) != GRPO_OK)
        return jsonl_fail("logprob", &err);
    if (check_head(&o, how.model, &err) != GRPO_OK) {
        session_close(&o.s);
        return jsonl_fail("logprob", &err);
    }
    int code = jsonl_run("logprob", optind < argc ? argv[optind] : NULL, one_line, &o);
    session_close(&o.s);
    return code;
}
