/* Time of the math verifier over a file of cases, one {"gold", "answer"} a line:
 *     ninja bench_math_verify && ./bench_math_verify ../../shared/verify/cases.jsonl
 * CPU time of this thread for each case, the best of three runs. */
#define _GNU_SOURCE
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "grpo/reward.h"

enum { MOST = 100000, RUNS = 3 };

static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_case(const json_t *gold, const json_t *answer)
{
    double best = 1e9;
    for (int i = 0; i < RUNS; i++) {
        grpo_math_result result;
        double began = thread_seconds();
        grpo_math_verify(NULL, json_string_value(gold), json_string_length(gold), json_string_value(answer),
                         json_string_length(answer), &result, NULL);
        double took = thread_seconds() - began;
        best = took < best ? took : best;
    }
    return best;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double seconds[MOST];
    static char line[1 << 22];
    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    int n = 0;
    if (!file) {
        fprintf(stderr, "usage: bench_math_verify CASES.jsonl\n");
        return 2;
    }
    while (n < MOST && fgets(line, sizeof line, file)) {
        json_t *record = json_loads(line, JSON_ALLOW_NUL, NULL);
        const json_t *gold = json_object_get(record, "gold"), *answer = json_object_get(record, "answer");
        if (json_is_string(gold) && json_is_string(answer)) {
            seconds[n] = time_case(gold, answer);
            if (seconds[n] > 0.01)
                printf("%6.1f ms  %.60s  %.60s\n", 1e3 * seconds[n], json_string_value(gold), json_string_value(answer));
            n++;
        }
        json_decref(record);
    }
    fclose(file);
    if (n == 0)
        return 1;
    qsort(seconds, (size_t)n, sizeof *seconds, compare);
    printf("%d cases: median %.1f us, 90%% %.1f us, 99%% %.0f us, worst %.1f ms\n", n, 1e6 * seconds[n / 2],
           1e6 * seconds[n * 9 / 10], 1e6 * seconds[n * 99 / 100], 1e3 * seconds[n - 1]);
    return 0;
}
