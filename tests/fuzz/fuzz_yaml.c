/* Configuration files of `grpo train`: what is accepted is written and read back to the same text. */
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "train/config.h"

static char *canonical(const char *text, size_t length)
{
    const schema *s = train_schema();
    schema_tree *tree;
    train_config c;
    grpo_error err;
    strbuf out = STRBUF_INIT;
    if (schema_tree_parse(&tree, text, length, "fuzz", &err) != GRPO_OK)
        return NULL;
    memset(&c, 0, sizeof c);
    if (schema_defaults(&c, s, &err) == GRPO_OK && schema_apply(&c, s, tree, &err) == GRPO_OK)
        schema_put_yaml(&out, &c, s);
    schema_deinit(&c, s);
    schema_tree_destroy(tree);
    return out.length ? strbuf_detach(&out) : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *once = canonical((const char *)data, size);
    char *twice = once ? canonical(once, strlen(once)) : NULL;
    if (once && (!twice || strcmp(once, twice) != 0))
        __builtin_trap();
    mem_free(once);
    mem_free(twice);
    return 0;
}
