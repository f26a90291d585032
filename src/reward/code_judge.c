/* The judge's process: started once a worker, one child of it for each program. */
#define _GNU_SOURCE
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "reward/code_frame.h"
#include "reward/code_run.h"

enum { COMPILE_SECONDS = 30 };

/* The program's interpreter as marshalled code: compiling it anew would cost half of each start. */
static grpo_status compile_program_side(code_runner *r, grpo_error *err)
{
    code_frame frame = {0};
    grpo_status status = GRPO_OK;
    if (!frame_send(r->judge.box.control, 'C', code_python_program, code_python_program_length, NULL, 0) ||
        frame_receive(r->judge.box.control, &frame, 16 << 20, machine_seconds() + COMPILE_SECONDS) != FRAME_OK || frame.letter != 'M')
        status = grpo_fail(err, GRPO_ERR_SANDBOX, "the judge's interpreter ended at its start");
    else if (!(r->compiled = mem_dup(frame.data.data, frame.data.length)))
        status = mem_fail(err, "the runner of programs", frame.data.length);
    r->compiled_length = frame.data.length;
    frame_deinit(&frame);
    return status;
}

grpo_status code_judge_ready(code_runner *r, grpo_error *err)
{
    if (r->judge.box.launcher > 0)
        return GRPO_OK;
    r->judge.job = -1;
    code_limits limits = r->limits;
    limits.memory += (size_t)1 << 30; /* holds what a program returns, beside tests */
    code_host host = *r->host;
    host.groups[0] = host.groups[1] = -1; /* the group is the program's */
    grpo_status status = code_sandbox_start(&r->judge.box, &host, &limits, code_python_judge, code_python_judge_length, 0, err);
    if (status != GRPO_OK)
        return grpo_error_prefix(err, status, "the judge");
    if (!r->compiled)
        status = compile_program_side(r, err);
    if (status != GRPO_OK)
        code_judge_stop(&r->judge);
    return status;
}

void code_judge_close_job(code_judge *j)
{
    if (j->job >= 0)
        close(j->job);
    j->job = -1;
}

void code_judge_stop(code_judge *j)
{
    code_judge_close_job(j);
    code_sandbox_stop(&j->box);
}

/* Gives the judge a socket for a job, and the job's facts. 0: it is gone. */
static int send_job(code_judge *j, const char *facts)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return 0;
    int sent = frame_send(j->box.control, 'J', "", 0, &ends[1], 1);
    close(ends[1]);
    j->job = ends[0];
    return sent && frame_send(j->job, 'P', facts, strlen(facts), NULL, 0);
}

grpo_status code_judge_open_job(code_runner *r, const json_t *job, grpo_error *err)
{
    json_t *facts = json_pack("{s:O, s:O, s:O}", "prompt", json_object_get(job, "prompt"), "setup", json_object_get(job, "setup"),
                              "entry", json_object_get(job, "entry"));
    char *text = facts ? json_text(facts) : NULL;
    json_decref(facts);
    if (!text)
        return mem_fail(err, "a test", 0);
    grpo_status status = GRPO_OK;
    int sent = 0;
    for (int tries = 0; !sent && tries < 2 && status == GRPO_OK; tries++) { /* one that was killed is started again */
        code_judge_close_job(&r->judge);
        status = code_judge_ready(r, err);
        sent = status == GRPO_OK && send_job(&r->judge, text);
        if (!sent)
            code_judge_stop(&r->judge);
    }
    mem_free(text);
    if (!sent && status == GRPO_OK)
        status = grpo_fail(err, GRPO_ERR_SANDBOX, "the judge's interpreter has ended");
    return status;
}
