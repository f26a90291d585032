/* A reward in C, loaded into the process.
 *
 *     cc -shared -fPIC -I include -o keywords.so examples/rewards/library_reward.c
 *     grpo score --reward library:./keywords.so:therefore,because answers.jsonl
 *
 * The share of the words given in the spec that the completion contains; without words, of the reference
 * answer's words. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grpo/reward_plugin.h"

static void *create(const char *argument, char *problem, size_t size)
{
    char *words = malloc(strlen(argument) + 1);
    if (words)
        strcpy(words, argument);
    else
        snprintf(problem, size, "out of memory");
    return words;
}

static double share_of(const char *words, const char *text)
{
    int total = 0, found = 0;
    while (*words) {
        char word[64];
        size_t length = strcspn(words, ", \t\n");
        if (length > 0 && length < sizeof word) {
            memcpy(word, words, length);
            word[length] = 0;
            total++;
            found += strstr(text, word) != NULL;
        }
        words += length + (words[length] != 0);
    }
    return total ? (double)found / total : NAN; /* NAN: cannot be scored */
}

static int score(void *self, const grpo_plugin_record *record, size_t count, double *reward, char *problem, size_t size)
{
    const char *words = self;
    for (size_t i = 0; i < count; i++) {
        const char *wanted = *words ? words : record[i].answer ? record[i].answer : "";
        reward[i] = share_of(wanted, record[i].completion);
        if (isnan(reward[i]))
            snprintf(problem, size, "there are no words to look for");
    }
    return 0;
}

const grpo_reward_plugin *grpo_reward_plugin_entry(void)
{
    static const grpo_reward_plugin plugin = {
        GRPO_REWARD_PLUGIN_VERSION, sizeof(grpo_reward_plugin), "keywords", GRPO_REWARD_PLUGIN_THREADS, create, free, score,
    };
    return &plugin;
}
