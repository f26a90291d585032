/* grpo tokenize: texts to token ids, and back. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "cli/args.h"
#include "cli/cli.h"
#include "cli/jsonl.h"
#include "grpo/tokenizer.h"

static const char HELP[] =
    "usage: grpo tokenize --model M | --tokenizer DIR [options] [FILE]\n\n"
    "Reads one JSON object a line, from FILE or stdin, and writes it with the field \"ids\": the tokens of its\n"
    "\"text\" (or of the bytes in \"bytes_base64\"), with those that the tokenizer's post-processor adds.\n\n"
    "  --model M             a model's folder, tokenizer.json or GGUF file\n"
    "  --tokenizer DIR       a folder with a tokenizer.json, or the file itself\n"
    "  --no-added            without the tokens that the post-processor adds (bos and the like)\n"
    "  --specials-as-text    read special tokens in the text as ordinary text\n"
    "  --decode              the other way: from \"ids\" to \"text\"\n"
    "  --skip-special        with --decode: leave special tokens out\n";

typedef struct options {
    grpo_tokenizer *tokenizer;
    unsigned flags;
    int skip_special;
} options;

/* Standard base64 (RFC 4648), padding optional. NULL when it is not. */
static char *decode_base64(const char *text, size_t length, size_t *decoded)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *bytes = mem_realloc(NULL, length / 4 * 3 + 3, 1);
    unsigned bits = 0;
    size_t n = 0, i = 0;
    for (; bytes && i < length && text[i] != '='; i++) {
        const char *digit = text[i] ? strchr(digits, text[i]) : NULL;
        if (!digit)
            break;
        bits = bits << 6 | (unsigned)(digit - digits);
        if (i % 4 != 0)
            bytes[n++] = (char)(bits >> (6 - 2 * (i % 4)));
    }
    size_t used = i;
    while (i < length && text[i] == '=')
        i++;
    if (!bytes || i != length || used % 4 == 1 || (i != used && i % 4 != 0)) {
        mem_free(bytes);
        return NULL;
    }
    *decoded = n;
    return bytes;
}

static grpo_status put_ids(json_t *object, const int32_t *ids, size_t count, grpo_error *err)
{
    json_t *list = json_array();
    int failed = list == NULL;
    for (size_t i = 0; i < count && !failed; i++)
        failed = json_array_append_new(list, json_integer(ids[i])) != 0;
    if (failed)
        json_decref(list);
    if (failed || json_object_set_new(object, "ids", list) != 0)
        return mem_fail(err, "token ids", count * sizeof *ids);
    return GRPO_OK;
}

static grpo_status encode(void *context, json_t *object, grpo_error *err)
{
    const options *o = context;
    const json_t *text = json_object_get(object, "text");
    const json_t *coded = json_object_get(object, "bytes_base64");
    const char *bytes = json_string_value(text);
    size_t length = json_string_length(text);
    char *decoded = NULL;
    if (!bytes && json_is_string(coded)) {
        bytes = decoded = decode_base64(json_string_value(coded), json_string_length(coded), &length);
        if (!bytes)
            return grpo_fail(err, GRPO_ERR_FORMAT, "\"bytes_base64\" is not base64");
    }
    if (!bytes)
        return grpo_fail(err, GRPO_ERR_FORMAT, "the string \"text\" (or \"bytes_base64\") is missing");
    int32_t *ids;
    size_t count;
    grpo_status status = grpo_tokenizer_encode(o->tokenizer, bytes, length, o->flags, &ids, &count, err);
    if (status == GRPO_OK)
        status = put_ids(object, ids, count, err);
    grpo_tokenizer_free_ids(ids);
    mem_free(decoded);
    return status;
}

static grpo_status read_ids(const json_t *object, int32_t **out, size_t *count, grpo_error *err)
{
    const json_t *list = json_object_get(object, "ids");
    if (!json_is_array(list))
        return grpo_fail(err, GRPO_ERR_FORMAT, "the list \"ids\" is missing");
    *count = json_array_size(list);
    int32_t *ids = mem_calloc(*count, sizeof *ids);
    if (!ids)
        return mem_fail(err, "token ids", *count * sizeof *ids);
    for (size_t i = 0; i < *count; i++) {
        const json_t *id = json_array_get(list, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > INT32_MAX) {
            mem_free(ids);
            return grpo_fail(err, GRPO_ERR_FORMAT, "\"ids\" must hold token ids only; item %zu is none", i);
        }
        ids[i] = (int32_t)json_integer_value(id);
    }
    *out = ids;
    return GRPO_OK;
}

static grpo_status decode(void *context, json_t *object, grpo_error *err)
{
    const options *o = context;
    int32_t *ids = NULL;
    size_t count = 0, length = 0;
    char *text = NULL;
    grpo_status status = read_ids(object, &ids, &count, err);
    if (status == GRPO_OK)
        status = grpo_tokenizer_decode(o->tokenizer, ids, count, o->skip_special, &text, &length, err);
    if (status == GRPO_OK && json_object_set_new(object, "text", json_stringn(text, length)) != 0)
        status = mem_fail(err, "a text", length);
    grpo_tokenizer_free_text(text);
    mem_free(ids);
    return status;
}

int cmd_tokenize(int argc, char **argv)
{
    enum { MODEL = 256, TOKENIZER, NO_ADDED, AS_TEXT, DECODE, SKIP, SHOW_HELP };
    static const struct option known[] = {
        {"model", required_argument, NULL, MODEL},       {"tokenizer", required_argument, NULL, TOKENIZER},
        {"no-added", no_argument, NULL, NO_ADDED},       {"specials-as-text", no_argument, NULL, AS_TEXT},
        {"decode", no_argument, NULL, DECODE},           {"skip-special", no_argument, NULL, SKIP},
        {"help", no_argument, NULL, SHOW_HELP},          {NULL, 0, NULL, 0}};
    options o = {.flags = GRPO_ENCODE_ADDED};
    const char *model = NULL, *folder = NULL;
    int backwards = 0, option;
    while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
        if (option == MODEL)
            model = optarg;
        else if (option == TOKENIZER)
            folder = optarg;
        else if (option == NO_ADDED)
            o.flags &= ~(unsigned)GRPO_ENCODE_ADDED;
        else if (option == AS_TEXT)
            o.flags |= GRPO_ENCODE_SPECIALS_AS_TEXT;
        else if (option == DECODE)
            backwards = 1;
        else if (option == SKIP)
            o.skip_special = 1;
        else if (option == SHOW_HELP || option == 'h')
            return fputs(HELP, stdout) < 0;
        else
            return 2;
    }
    if (!model == !folder)
        return args_usage("tokenize", "exactly one of --model and --tokenizer is needed");
    if (argc - optind > 1)
        return args_usage("tokenize", "there is more than one FILE");
    grpo_error err = {0};
    grpo_status status = grpo_tokenizer_open(&o.tokenizer, model ? model : folder, &err);
    if (status != GRPO_OK)
        return jsonl_fail("tokenize", &err);
    int code = jsonl_run("tokenize", argv[optind], backwards ? decode : encode, &o);
    grpo_tokenizer_destroy(o.tokenizer);
    return code;
}
