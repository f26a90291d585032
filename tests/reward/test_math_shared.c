/* The verification cases of ../shared/verify: agreement with their labels. Only "gold" and "answer" are
 * shown to the verifier. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "grpo/reward.h"
#include "support.h"

static int counts(const json_t *record)
{
    const char *status = json_string_value(json_object_get(record, "status"));
    return status && (strcmp(status, "agreed") == 0 || strcmp(status, "library_differs") == 0);
}

static void labels_agree(void **state)
{
    static char line[1 << 22];
    int total = 0, right = 0, accepts = 0, rejections = 0;
    FILE *file = fopen(test_shared_path("verify/cases.jsonl"), "r");
    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        json_t *record = json_loads(line, JSON_ALLOW_NUL, NULL);
        assert_non_null(record);
        const json_t *gold = json_object_get(record, "gold"), *answer = json_object_get(record, "answer");
        grpo_math_result result;
        grpo_error err;
        assert_ok(grpo_math_verify(NULL, json_string_value(gold), json_string_length(gold), json_string_value(answer),
                                   json_string_length(answer), &result, &err), err);
        int expected = json_is_true(json_object_get(record, "expected")), got = result.verdict == GRPO_MATH_RIGHT;
        if (counts(record)) {
            total++;
            right += expected == got;
            accepts += got && !expected;
            rejections += expected && !got;
            if (expected != got)
                printf("%s: %s, label %s: %s\n", json_string_value(json_object_get(record, "id")),
                       grpo_math_verdict_text(result.verdict), expected ? "true" : "false", result.reason);
        }
        json_decref(record);
    }
    fclose(file);
    printf("%d of %d cases agree (%.2f%%), %d false accepts, %d false rejections\n", right, total,
           100.0 * right / total, accepts, rejections);
    assert_true(total > 1000);
    assert_true(right * 1000.0 >= total * 990.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(labels_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
