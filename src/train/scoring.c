/* Rewards of answers: a queue between the sampler and the configured rewards. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/machine.h"
#include "base/mem.h"
#include "reward/reward.h"
#include "train/scoring.h"

enum { MOST_THREADS = 256, MOST_AT_ONCE = 256, COMPUTING_THREADS = 2 };

typedef struct entry {
    const scoring_item *item;
    scored *out;
} entry;

struct scoring {
    grpo_reward_set *set;
    size_t parts;
    double *weights;
    unsigned char *judges; /* [parts] 1: a math or code reward, which says right or wrong */
    pthread_t thread[MOST_THREADS];
    int threads;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    entry *queue; /* [capacity] waiting are [first, end) */
    size_t first, end, capacity;
    size_t unfinished; /* waiting or being scored */
    int closing, failed;
    grpo_error error;
    double busy;
};

/* ---- scoring a batch --------------------------------------------------------------------------- */

static grpo_reward_record record_of(const scoring_item *item)
{
    const data_record *r = item->record;
    return (grpo_reward_record){
        .prompt = r->text,
        .prompt_length = r->text ? strlen(r->text) : 0,
        .messages = r->messages,
        .completion = item->text,
        .completion_length = item->length,
        .answer = r->answer,
        .answer_length = r->answer_length,
        .tokens = item->token,
        .token_count = (size_t)item->tokens,
        .fields = r->fields,
    };
}

/* Why there is no reward: the first part that has a problem. */
static void note_problem(const scoring *s, scored *out, const reward_score *scores)
{
    snprintf(out->problem, sizeof out->problem, "no reward's condition (when) holds for the record");
    for (size_t p = s->parts; p-- > 0;)
        if (scores[p].problem[0])
            snprintf(out->problem, sizeof out->problem, "%.40s: %s", scoring_part_name(s, p), scores[p].problem);
}

static void note_scores(const scoring *s, scored *out, const reward_score *scores, double total)
{
    out->reward = total;
    out->correct = -1;
    out->unverifiable = 0;
    out->problem[0] = 0;
    for (size_t p = 0; p < s->parts; p++) {
        out->part[p] = scores[p].value;
        out->counted[p] = isnan(total) ? NAN : scores[p].counted;
        out->unverifiable |= scores[p].unverifiable;
        if (out->correct < 0 && s->judges[p] && !isnan(out->part[p]))
            out->correct = out->part[p] >= 1;
    }
    if (isnan(total))
        note_problem(s, out, scores);
}

static grpo_status score_entries(scoring *s, const entry *entries, size_t n, grpo_error *err)
{
    grpo_reward_record *records = mem_calloc(n, sizeof *records);
    reward_score *scores = mem_calloc(n * s->parts, sizeof *scores);
    double *total = mem_calloc(n, sizeof *total);
    grpo_status status = records && scores && total ? GRPO_OK : mem_fail(err, "a batch of rewards", n * sizeof *scores);
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        records[i] = record_of(entries[i].item);
    if (status == GRPO_OK)
        status = reward_set_score_details(s->set, records, n, scores, total, REWARD_SCORES, err);
    for (size_t i = 0; i < n && status == GRPO_OK; i++)
        note_scores(s, entries[i].out, scores + i * s->parts, total[i]);
    for (size_t i = 0; scores && i < n * s->parts; i++)
        json_decref(scores[i].details);
    mem_free(records);
    mem_free(scores);
    mem_free(total);
    return status;
}

/* ---- threads -------------------------------------------------------------------------------------- */

/* Takes this thread's share of what waits; 0 when the queue is closed. */
static size_t take_entries(scoring *s, entry *out)
{
    pthread_mutex_lock(&s->lock);
    while (s->first == s->end && !s->closing)
        pthread_cond_wait(&s->changed, &s->lock);
    size_t waiting = s->end - s->first, n = (waiting + (size_t)s->threads - 1) / (size_t)s->threads;
    n = n < MOST_AT_ONCE ? n : MOST_AT_ONCE;
    for (size_t i = 0; i < n; i++) /* none when the queue is closed */
        out[i] = s->queue[s->first++];
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void *run_thread(void *context)
{
    scoring *s = context;
    entry entries[MOST_AT_ONCE];
    size_t n;
    pool_fp_enter(); /* as all threads that compute */
    while ((n = take_entries(s, entries)) > 0) {
        grpo_error error;
        double began = machine_seconds();
        grpo_status status = score_entries(s, entries, n, &error);
        pthread_mutex_lock(&s->lock);
        s->busy += machine_seconds() - began;
        if (status != GRPO_OK && !s->failed) {
            s->failed = 1;
            s->error = error;
        }
        s->unfinished -= n;
        if (s->unfinished == 0)
            pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

static grpo_status submit(scoring *s, const scoring_item *item, scored *out, grpo_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (s->first == s->end)
        s->first = s->end = 0;
    grpo_status status = GRPO_OK;
    if (mem_reserve((void **)&s->queue, &s->capacity, s->end + 1, sizeof *s->queue) != 0) {
        status = mem_fail(err, "the queue of answers to be scored", s->end * sizeof *s->queue);
    } else {
        s->queue[s->end++] = (entry){item, out};
        s->unfinished++;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

static grpo_status wait_for_all(scoring *s, grpo_error *err)
{
    pthread_mutex_lock(&s->lock);
    while (s->unfinished > 0)
        pthread_cond_wait(&s->changed, &s->lock);
    grpo_status status = s->failed ? s->error.status : GRPO_OK;
    if (s->failed && err)
        *err = s->error;
    s->failed = 0;
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- batches -------------------------------------------------------------------------------------------- */

grpo_status scoring_batch_init(scoring_batch *b, scoring *s, const language_model *lm, const stop_strings *stop, size_t count,
                               grpo_error *err)
{
    *b = (scoring_batch){.s = s, .lm = lm, .stop = stop, .count = count};
    b->item = mem_calloc(count, sizeof *b->item);
    b->score = mem_calloc(count, sizeof *b->score);
    b->parts = mem_calloc(count * s->parts, sizeof *b->parts);
    b->counted = mem_calloc(count * s->parts, sizeof *b->counted);
    if (!b->item || !b->score || !b->parts || !b->counted) {
        scoring_batch_deinit(b);
        return mem_fail(err, "answers", count * sizeof *b->score);
    }
    for (size_t i = 0; i < count; i++) {
        b->score[i].part = b->parts + i * s->parts;
        b->score[i].counted = b->counted + i * s->parts;
    }
    return GRPO_OK;
}

void scoring_batch_add(scoring_batch *b, size_t i, const data_record *record, const rollout_sample *sample)
{
    double began = machine_seconds();
    grpo_error error;
    scoring_item *item = &b->item[i];
    grpo_tokenizer_free_text(item->text); /* of an answer that this one replaces */
    *item = (scoring_item){.record = record,
                           .token = sample->token,
                           .tokens = sample->n,
                           .truncated = sample->finish == FINISH_LENGTH};
    grpo_status status =
        language_model_answer_text(b->lm, b->stop, sample->token, sample->n, &item->text, &item->length, &error);
    if (status == GRPO_OK)
        status = submit(b->s, item, &b->score[i], &error);
    if (status != GRPO_OK && b->error.status == GRPO_OK)
        b->error = error;
    b->added++;
    b->seconds += machine_seconds() - began;
}

grpo_status scoring_batch_wait(scoring_batch *b, grpo_error *err)
{
    double began = machine_seconds();
    grpo_status status = wait_for_all(b->s, err);
    b->seconds += machine_seconds() - began;
    if (status == GRPO_OK && b->error.status != GRPO_OK) {
        status = b->error.status;
        if (err)
            *err = b->error;
    }
    return status;
}

void scoring_batch_deinit(scoring_batch *b)
{
    if (b->s)
        wait_for_all(b->s, NULL);
    for (size_t i = 0; b->item && i < b->count; i++)
        grpo_tokenizer_free_text(b->item[i].text);
    mem_free(b->item);
    mem_free(b->score);
    mem_free(b->parts);
    mem_free(b->counted);
    memset(b, 0, sizeof *b);
}

double scoring_busy_seconds(scoring *s)
{
    pthread_mutex_lock(&s->lock);
    double busy = s->busy;
    s->busy = 0;
    pthread_mutex_unlock(&s->lock);
    return busy;
}

/* ---- life --------------------------------------------------------------------------------------------- */

/* Says right or wrong, and not only how good. */
static unsigned char is_judge(const char *spec)
{
    char kind[32];
    reward_kind_of(kind, spec);
    return strcmp(kind, "math") == 0 || strcmp(kind, "code") == 0;
}

static grpo_status create_set(scoring *s, const train_reward *rewards, size_t count, const grpo_reward_options *options,
                              grpo_error *err)
{
    grpo_reward_item *items = mem_calloc(count, sizeof *items);
    s->weights = mem_calloc(count, sizeof *s->weights);
    s->judges = mem_calloc(count, sizeof *s->judges);
    if (!items || !s->weights || !s->judges) {
        mem_free(items);
        return mem_fail(err, "rewards", count * sizeof *items);
    }
    s->parts = count;
    for (size_t i = 0; i < count; i++) {
        const train_reward *r = &rewards[i];
        int is_gate = !isnan(r->gate);
        items[i] = (grpo_reward_item){.spec = r->spec, .weight = r->weight, .name = r->name, .when = r->when,
                                      .is_gate = is_gate, .gate = is_gate ? r->gate : 0, .timeout = r->timeout,
                                      .workers = r->workers, .at_once = r->at_once, .attempts = r->attempts};
        s->weights[i] = r->weight;
        s->judges[i] = is_judge(r->spec);
    }
    grpo_status status = grpo_reward_set_create(&s->set, items, count, options, err);
    mem_free(items);
    return status;
}

/* Signals are the main thread's. */
static grpo_status start_threads(scoring *s, grpo_error *err)
{
    int wanted = grpo_reward_set_ways(s->set), failed = 0;
    wanted = wanted < COMPUTING_THREADS ? COMPUTING_THREADS : wanted > MOST_THREADS ? MOST_THREADS : wanted;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_mutex_lock(&s->lock); /* threads look at their number */
    while (!failed && s->threads < wanted) {
        failed = pthread_create(&s->thread[s->threads], NULL, run_thread, s);
        s->threads += !failed;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? grpo_fail(err, GRPO_ERR_MEMORY, "cannot start a thread for rewards: %s", strerror(failed)) : GRPO_OK;
}

grpo_status scoring_create(scoring **out, const train_reward *rewards, size_t count, const grpo_reward_options *options,
                           grpo_error *err)
{
    *out = NULL;
    scoring *s = mem_calloc(1, sizeof *s);
    if (!s)
        return mem_fail(err, "rewards", sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    grpo_status status = create_set(s, rewards, count, options, err);
    if (status == GRPO_OK)
        status = start_threads(s, err);
    if (status != GRPO_OK) {
        scoring_destroy(s);
        return status;
    }
    *out = s;
    return GRPO_OK;
}

void scoring_destroy(scoring *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->threads; i++)
        pthread_join(s->thread[i], NULL);
    grpo_reward_set_destroy(s->set);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    mem_free(s->queue);
    mem_free(s->weights);
    mem_free(s->judges);
    mem_free(s);
}

size_t scoring_parts(const scoring *s)
{
    return s->parts;
}

const char *scoring_warning(const scoring *s)
{
    return grpo_reward_set_warning(s->set);
}

const char *scoring_part_name(const scoring *s, size_t part)
{
    return grpo_reward_set_name(s->set, part);
}

const double *scoring_weights(const scoring *s)
{
    return s->weights;
}
