/* The LaTeX parser alone: any text gives a tree that can be printed, or a reason. */
#include <string.h>

#include "base/strbuf.h"
#include "fuzz.h"
#include "reward/math_parse.h"
#include "reward/math_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned flags[] = {0, MATH_LEX_LISTS};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        math_tree tree;
        int grouped;
        char text[400];
        math_tree_init(&tree);
        math_node *node = math_parse(&tree, (math_slice){(const char *)data, size}, flags[i], &grouped);
        if (node)
            math_node_print(node, text, sizeof text);
        else if (!tree.problem)
            __builtin_trap();
        math_tree_deinit(&tree);
    }
    return 0;
}
