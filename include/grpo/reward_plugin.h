/* A reward of your own, from a shared library:
 *
 *     cc -shared -fPIC -I include -o mine.so mine.c
 *     rewards: [{spec: "library:./mine.so"}]                       (configuration)
 *     grpo score --reward library:./mine.so answers.jsonl          (to try it)
 *
 * examples/rewards/library_reward.c is a complete one. The library exports one function that returns a structure
 * which stays valid; its version is checked when it is loaded, and later versions of this header only add
 * fields at the end. The library runs inside the process: where it crashes, the run does; `command:` keeps
 * a reward in a process of its own. */
#ifndef GRPO_REWARD_PLUGIN_H
#define GRPO_REWARD_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GRPO_REWARD_PLUGIN_VERSION 1

/* One answer. Texts are UTF-8 and NUL-terminated; NULL where there is none. All is valid during the call
 * only. */
typedef struct grpo_plugin_record {
    const char *prompt;
    size_t prompt_length;
    const char *completion; /* never NULL */
    size_t completion_length;
    const char *answer; /* the reference */
    size_t answer_length;
    const int32_t *tokens; /* [token_count] of the completion, NULL where they are not known */
    size_t token_count;
    const char *json; /* with GRPO_REWARD_PLUGIN_JSON: the data set's whole record, with completion and answer */
} grpo_plugin_record;

enum {
    GRPO_REWARD_PLUGIN_THREADS = 1, /* score may be called from several threads at once */
    GRPO_REWARD_PLUGIN_JSON = 2,    /* fill in `json` */
};

typedef struct grpo_reward_plugin {
    uint32_t version; /* GRPO_REWARD_PLUGIN_VERSION */
    uint32_t size;    /* sizeof(grpo_reward_plugin) */
    const char *name; /* for messages */
    uint32_t flags;   /* GRPO_REWARD_PLUGIN_* */
    /* argument: what follows the path and a colon in the spec, "" without. The result is passed to the others
     * as `self`. On failure NULL with the reason in problem[size]. create and destroy may both be NULL. */
    void *(*create)(const char *argument, char *problem, size_t size);
    void (*destroy)(void *self);
    /* Fills reward[count]; NAN where an answer cannot be scored. Each reward must depend on its record alone:
     * how answers are grouped into calls varies. Other than 0: nothing was scored; the reason in
     * problem[size]. */
    int (*score)(void *self, const grpo_plugin_record *record, size_t count, double *reward, char *problem, size_t size);
} grpo_reward_plugin;

/* What the library exports. */
const grpo_reward_plugin *grpo_reward_plugin_entry(void);

#ifdef __cplusplus
}
#endif
#endif
