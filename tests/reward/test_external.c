/* Rewards that run outside: programs (also killed in the middle of a batch), shared objects, servers. */
#define _GNU_SOURCE
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/line_program.h"
#include "reward/reward.h"
#include "support.h"

enum { COUNT = 40 };

static const char *source_dir(void)
{
    const char *dir = getenv("GRPO_SOURCE_DIR");
    return dir ? dir : ".";
}

/* ---- records whose reward is known: record i says "it is i", and the reference is i -------------- */

typedef struct records {
    char completion[COUNT][64], answer[COUNT][16];
    grpo_reward_record record[COUNT];
    reward_score score[COUNT];
    double total[COUNT];
} records;

static void fill(records *r)
{
    memset(r, 0, sizeof *r);
    for (int i = 0; i < COUNT; i++) {
        snprintf(r->completion[i], sizeof r->completion[i], "it is %d", i);
        snprintf(r->answer[i], sizeof r->answer[i], "%d", i);
        r->record[i] = (grpo_reward_record){.completion = r->completion[i], .completion_length = strlen(r->completion[i]),
                                            .answer = r->answer[i], .answer_length = strlen(r->answer[i])};
    }
}

static grpo_status score_set(records *r, const grpo_reward_item *item, size_t n, grpo_error *err)
{
    grpo_reward_set *set;
    grpo_status status = grpo_reward_set_create(&set, item, 1, NULL, err);
    if (status != GRPO_OK)
        return status;
    status = reward_set_score_details(set, r->record, n, r->score, r->total, REWARD_SCORES, err);
    grpo_reward_set_destroy(set);
    return status;
}

/* A Python program in a file of its own; the spec that runs it. */
static const char *program(const char *name, const char *text)
{
    static char spec[600];
    char path[512];
    grpo_error err;
    snprintf(path, sizeof path, "%s/%s.py", test_folder(), name);
    assert_ok(file_write_all(path, text, strlen(text), &err), err);
    snprintf(spec, sizeof spec, "command:exec python3 %s %s", path, test_folder());
    return spec;
}

/* Reads records and answers with the number in the completion, after `special` has seen it. */
#define ANSWER_LOOP(special)                                              \
    "import json, os, signal, sys, time\n"                                \
    "folder = sys.argv[1]\n"                                              \
    "for line in sys.stdin:\n"                                            \
    "    i = int(json.loads(line)['completion'].split()[-1])\n" special   \
    "    print(i, flush=True)\n"

static void assert_all_scored(const records *r)
{
    for (int i = 0; i < COUNT; i++)
        if (r->total[i] != i)
            fail_msg("record %d has %g (%s)", i, r->total[i], r->score[i].problem);
}

static void assert_problem(const records *r, int record, const char *words)
{
    assert_true(isnan(r->total[record]));
    if (!strstr(r->score[record].problem, words))
        fail_msg("'%s' does not say '%s'", r->score[record].problem, words);
}

/* ---- programs --------------------------------------------------------------------------------------- */

static void the_example_program(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    char spec[1000];
    fill(&r);
    r.record[3].answer = "4";
    r.record[4].completion = "none";
    r.record[4].completion_length = 4;
    r.record[5].answer = NULL;
    snprintf(spec, sizeof spec, "command:python3 '%s/examples/rewards/command_reward.py'", source_dir());
    grpo_reward_item item = {.spec = spec, .weight = 1, .workers = 3};
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    for (int i = 0; i < COUNT; i++)
        if (i != 5)
            assert_close(r.total[i], i == 3 ? 0.1 : i == 4 ? 0.0 : 1.0, 0);
    assert_problem(&r, 5, "the record has no answer");
}

static void a_program_dies_once(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    fill(&r);
    grpo_reward_item item = {.weight = 1, .workers = 2, .at_once = 4, .spec = program("once", ANSWER_LOOP(
        "    if i in (7, 8, 20) and not os.path.exists(f'{folder}/died{i}'):\n"
        "        open(f'{folder}/died{i}', 'w')\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"))};
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_all_scored(&r);
}

static void *kill_it(void *context)
{
    char path[512], *text;
    (void)context;
    snprintf(path, sizeof path, "%s/pid", test_folder());
    while (file_read(&text, NULL, path, 100, NULL) != GRPO_OK || !*text)
        usleep(1000);
    kill((pid_t)atoi(text), SIGKILL);
    mem_free(text);
    return NULL;
}

/* Killed from outside while it holds answers back: what it had not answered is asked again. */
static void a_program_is_killed_mid_batch(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    pthread_t thread;
    fill(&r);
    assert_int_equal(pthread_create(&thread, NULL, kill_it, NULL), 0);
    grpo_reward_item item = {.weight = 1, .at_once = 8, .spec = program("killed", ANSWER_LOOP(
        "    if i == 15 and not os.path.exists(f'{folder}/pid'):\n"
        "        with open(f'{folder}/pid.part', 'w') as f: f.write(str(os.getpid()))\n"
        "        os.rename(f'{folder}/pid.part', f'{folder}/pid')\n"
        "        time.sleep(100)\n"))};
    double began = machine_seconds();
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_true(machine_seconds() - began < 30);
    pthread_join(thread, NULL);
    assert_all_scored(&r);
}

static void a_record_that_kills(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    fill(&r);
    grpo_reward_item item = {.weight = 1, .at_once = 3, .spec = program("poison", ANSWER_LOOP(
        "    if i == 9: sys.exit('nine is too much')\n"))};
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_problem(&r, 9, "nine is too much");
    r.total[9] = 9;
    assert_all_scored(&r);
}

static void a_program_hangs(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    fill(&r);
    grpo_reward_item item = {.weight = 1, .timeout = 2, .spec = program("hangs", ANSWER_LOOP(
        "    if i == 30: print('thinking', file=sys.stderr, flush=True); time.sleep(100)\n"))};
    double began = machine_seconds();
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_true(machine_seconds() - began < 30);
    assert_problem(&r, 30, "no answer within 2 seconds");
    assert_problem(&r, 30, "thinking");
    r.total[30] = 30;
    assert_all_scored(&r);
}

static void answers_that_are_no_reward(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    fill(&r);
    grpo_reward_item item = {.weight = 1, .spec = program("strange", ANSWER_LOOP(
        "    special = {3: 'NaN', 4: 'null', 5: '{\"reward\": Infinity}', 6: '{\"reward\": null, \"problem\": \"no idea\"}',\n"
        "               7: '\"seven\"', 8: 'oops', 9: '{\"score\": 1}', 10: 'true', 11: '{\"reward\": 11.5, \"why\": 1}', 12: '1e999'}\n"
        "    if i in special: print(special[i], flush=True); continue\n"))};
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_problem(&r, 3, "not a number: NaN");
    assert_problem(&r, 4, "null");
    assert_problem(&r, 5, "not a number");
    assert_problem(&r, 6, "no idea");
    assert_problem(&r, 7, "seven");
    assert_problem(&r, 8, "not JSON: oops");
    assert_problem(&r, 9, "score");
    assert_true(r.total[10] == 1 && r.total[11] == 11.5 && isnan(r.total[12]));
    for (int i = 3; i <= 12; i++)
        r.total[i] = i;
    assert_all_scored(&r);
}

static void refused(const char *spec, size_t n, grpo_status wanted, const char *words)
{
    records r;
    grpo_error err = {0};
    fill(&r);
    grpo_reward_item item = {.spec = spec, .weight = 1};
    assert_int_equal(score_set(&r, &item, n, &err), wanted);
    if (!strstr(err.message, words))
        fail_msg("'%s' does not say '%s'", err.message, words);
}

static void programs_that_cannot_be_trusted(void **state)
{
    (void)state;
    refused(program("other", ANSWER_LOOP("    print(json.dumps({'request': i + (i == 9), 'reward': i}), flush=True); continue\n")),
            COUNT, GRPO_ERR_REWARD, "answers no record");
    refused("command:nosuchprogram", COUNT, GRPO_ERR_REWARD, "nosuchprogram: not found");
    refused("command:echo broken >&2; exit 3", COUNT, GRPO_ERR_REWARD, "status 3; its stderr ends: broken");
    refused("command: ", 1, GRPO_ERR_CONFIG, "missing");
}

/* Two lines for each one: noticed after the first answer, or at the latest when the batch is over. */
static void a_program_that_says_too_much(void **state)
{
    (void)state;
    records r;
    grpo_error err = {0};
    grpo_reward_set *set;
    grpo_reward_item item = {.weight = 1, .spec = program("two", ANSWER_LOOP("    print(i + 1, flush=True)\n"))};
    fill(&r);
    assert_ok(grpo_reward_set_create(&set, &item, 1, NULL, &err), err);
    grpo_status status = GRPO_OK;
    for (int i = 0; i < 2 && status == GRPO_OK; i++) {
        status = reward_set_score_details(set, r.record, COUNT, r.score, r.total, REWARD_SCORES, &err);
        usleep(300000);
    }
    assert_int_equal(status, GRPO_ERR_REWARD);
    assert_non_null(strstr(err.message, "answers no record"));
    grpo_reward_set_destroy(set);
}

/* More than a pipe holds, both ways: nobody may wait for the other. */
static void large_records(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    enum { SIZE = 1 << 20, FEW = 12 };
    fill(&r);
    char *text = mem_calloc(SIZE + 1, 1);
    memset(text, 'x', SIZE);
    for (int i = 0; i < FEW; i++) {
        r.record[i].completion = text;
        r.record[i].completion_length = SIZE;
    }
    grpo_reward_item item = {.weight = 1, .at_once = FEW, .spec = program("large",
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    print(json.dumps({'reward': len(json.loads(line)['completion']), 'copy': line}), flush=True)\n")};
    assert_ok(score_set(&r, &item, FEW, &err), err);
    for (int i = 0; i < FEW; i++)
        assert_true(r.total[i] == SIZE);
    mem_free(text);
}

/* Two threads share the programs of one set. */
static grpo_reward_set *shared_set;

static void *score_some(void *context)
{
    records *r = context;
    return (void *)(intptr_t)reward_set_score_details(shared_set, r->record, COUNT, r->score, r->total, REWARD_SCORES, NULL);
}

static void threads_share_programs(void **state)
{
    (void)state;
    static records r[3];
    grpo_error err;
    pthread_t thread[3];
    grpo_reward_item item = {.weight = 1, .workers = 2, .spec = program("shared", ANSWER_LOOP(""))};
    assert_ok(grpo_reward_set_create(&shared_set, &item, 1, NULL, &err), err);
    assert_int_equal(grpo_reward_set_ways(shared_set), 2);
    for (int i = 0; i < 3; i++) {
        fill(&r[i]);
        pthread_create(&thread[i], NULL, score_some, &r[i]);
    }
    for (int i = 0; i < 3; i++) {
        void *status;
        pthread_join(thread[i], &status);
        assert_null(status);
        assert_all_scored(&r[i]);
    }
    grpo_reward_set_destroy(shared_set);
}

/* ---- shared objects -------------------------------------------------------------------------------------- */

static const char *compile(const char *source, const char *name)
{
    static char path[512];
    char command[4096];
    const char *compiler = getenv("CC") ? getenv("CC") : "cc";
    snprintf(path, sizeof path, "library:%s/%s.so", test_folder(), name);
    snprintf(command, sizeof command, "%s -shared -fPIC -I '%s/include' -o '%s' '%s' 2>&1", compiler, source_dir(), path + 8, source);
    if (system(command) != 0) {
        fprintf(stderr, "SKIPPED: no C compiler to build a library with (%s)\n", compiler);
        exit(77);
    }
    return path;
}

static const char *compile_text(const char *name, const char *text)
{
    char source[512];
    grpo_error err;
    snprintf(source, sizeof source, "%s/%s.c", test_folder(), name);
    assert_ok(file_write_all(source, text, strlen(text), &err), err);
    return compile(source, name);
}

static void the_example_library(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    char source[4096], spec[600];
    snprintf(source, sizeof source, "%s/examples/rewards/library_reward.c", source_dir());
    snprintf(spec, sizeof spec, "%s:is,12", compile(source, "keywords"));
    grpo_reward_item item = {.spec = spec, .weight = 1};
    fill(&r);
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    for (int i = 0; i < COUNT; i++)
        assert_close(r.total[i], i == 12 ? 1 : 0.5, 0);
    *strrchr(spec, ':') = 0; /* without words of its own: those of the reference */
    r.record[2].answer = "";
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    assert_close(r.total[1], 1, 0);
    assert_problem(&r, 2, "no words");
}

#define PLUGIN(version, size, score)                                                                                       \
    "#include \"grpo/reward_plugin.h\"\n"                                                                                  \
    "static int f(void *s, const grpo_plugin_record *r, size_t n, double *out, char *p, size_t m)\n"                       \
    "{ (void)s; (void)r; (void)n; (void)out; (void)p; (void)m; return 7; }\n"                                              \
    "const grpo_reward_plugin *grpo_reward_plugin_entry(void) { (void)f;\n"                                                \
    "    static const grpo_reward_plugin x = {" version ", " size ", \"x\", 0, 0, 0, " score "}; return &x; }\n"

static void bad_libraries(void **state)
{
    (void)state;
    refused("library:", 1, GRPO_ERR_CONFIG, "missing");
    refused("library:/nosuch.so", 1, GRPO_ERR_CONFIG, "nosuch.so");
    refused(compile_text("empty", "int nothing;\n"), 1, GRPO_ERR_CONFIG, "grpo_reward_plugin_entry");
    refused(compile_text("newer", PLUGIN("99", "sizeof x", "f")), 1, GRPO_ERR_CONFIG, "version 99");
    refused(compile_text("shorter", PLUGIN("1", "8", "f")), 1, GRPO_ERR_CONFIG, "8 bytes");
    refused(compile_text("without", PLUGIN("1", "sizeof x", "0")), 1, GRPO_ERR_CONFIG, "no score function");
    records r;
    grpo_error err;
    fill(&r);
    grpo_reward_item item = {.spec = compile_text("fails", PLUGIN("1", "sizeof x", "f")), .weight = 1};
    assert_ok(score_set(&r, &item, 1, &err), err);
    assert_problem(&r, 0, "does not say why");
}

/* ---- servers ------------------------------------------------------------------------------------------------ */

/* Starts a server that prints "… port N"; its URL. */
static const char *start_server(line_program *server, const char *command)
{
    static char url[64];
    grpo_error err;
    size_t length;
    char *line;
    line_program_init(server);
    assert_ok(line_program_start(server, command, &err), err);
    while (!(line = line_program_line(server, &length))) {
        poll(&(struct pollfd){.fd = server->out, .events = POLLIN}, 1, 10000);
        if (!line_program_pump(server) && !strchr(strbuf_text(&server->received), '\n')) {
            line_program_end(server, 0.1);
            fail_msg("the server did not start: %s", server->ending);
        }
    }
    snprintf(url, sizeof url, "http://127.0.0.1:%d/score", atoi(strrchr(line, ' ')));
    return url;
}

static void the_example_server(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    line_program server;
    char command[1000];
    fill(&r);
    r.record[5].answer = NULL;
    snprintf(command, sizeof command, "exec python3 '%s/examples/rewards/http_reward.py' 0", source_dir());
    grpo_reward_item item = {.spec = start_server(&server, command), .weight = 1, .at_once = 7};
    assert_ok(score_set(&r, &item, COUNT, &err), err);
    for (int i = 0; i < COUNT; i++)
        if (i != 5)
            assert_close(r.total[i], 1 / 1.03, 1e-15);
    assert_problem(&r, 5, "the record has no answer");
    line_program_deinit(&server);
}

/* The n-th request gets the n-th of these: refused, cut off, late, too few, no JSON, at last right. */
static const char moody_server[] =
    "import http.server, json, sys, time\n"
    "moods = sys.argv[1].split(',')\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    def do_POST(self):\n"
    "        n = len(json.loads(self.rfile.read(int(self.headers['Content-Length'])))['records'])\n"
    "        mood = moods.pop(0)\n"
    "        if mood == 'cut': return\n"
    "        if mood == 'late': time.sleep(3)\n"
    "        body = {'few': '[1]', 'text': 'hello', 'other': '{\"x\": 1}'}.get(mood, json.dumps([4.5] * n)).encode()\n"
    "        self.send_response(int(mood) if mood.isdigit() else 200)\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "    def log_message(self, *a): pass\n"
    "s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)\n"
    "print('port', s.server_address[1], flush=True)\n"
    "s.serve_forever()\n";

static void ask_moody(records *r, const char *moods, int attempts)
{
    line_program server;
    char command[700];
    grpo_error err;
    snprintf(command, sizeof command, "exec python3 %s/moody.py %s", test_folder(), moods);
    fill(r);
    grpo_reward_item item = {.spec = start_server(&server, command), .weight = 1, .attempts = attempts, .timeout = 1};
    assert_ok(score_set(r, &item, 3, &err), err);
    line_program_deinit(&server);
}

static void servers_that_fail(void **state)
{
    (void)state;
    records r;
    grpo_error err;
    char path[512];
    snprintf(path, sizeof path, "%s/moody.py", test_folder());
    assert_ok(file_write_all(path, moody_server, strlen(moody_server), &err), err);
    ask_moody(&r, "503,429,cut,right", 4);
    assert_true(r.total[0] == 4.5 && r.total[2] == 4.5);
    ask_moody(&r, "late,right", 2);
    assert_true(r.total[1] == 4.5);
    ask_moody(&r, "500,502,right", 2);
    assert_problem(&r, 0, "answers 502");
    assert_problem(&r, 2, "after 2 attempts");
    ask_moody(&r, "404,right", 4); /* no use in asking again */
    assert_problem(&r, 0, "answers 404");
    ask_moody(&r, "few", 1);
    assert_problem(&r, 2, "1 rewards for 3 records");
    ask_moody(&r, "text", 1);
    assert_problem(&r, 0, "not JSON: hello");
    ask_moody(&r, "other", 1);
    assert_problem(&r, 0, "no array of rewards");
    refused("http:ftp://x", 1, GRPO_ERR_CONFIG, "no URL");
}

int main(void)
{
    if (system("python3 -c 'import http.server' 2>/dev/null") != 0) {
        fprintf(stderr, "SKIPPED: no python3 to run example rewards with\n");
        return 77;
    }
    setenv("no_proxy", "127.0.0.1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_program),
        cmocka_unit_test(a_program_dies_once),
        cmocka_unit_test(a_program_is_killed_mid_batch),
        cmocka_unit_test(a_record_that_kills),
        cmocka_unit_test(a_program_hangs),
        cmocka_unit_test(answers_that_are_no_reward),
        cmocka_unit_test(programs_that_cannot_be_trusted),
        cmocka_unit_test(a_program_that_says_too_much),
        cmocka_unit_test(large_records),
        cmocka_unit_test(threads_share_programs),
        cmocka_unit_test(the_example_library),
        cmocka_unit_test(bad_libraries),
        cmocka_unit_test(the_example_server),
        cmocka_unit_test(servers_that_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
