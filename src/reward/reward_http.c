/* The rewards `http` and `https`: a server of the user's that scores batches.
 *
 * POST {"records": [...]} (exchange.h); the answer is an array of as many rewards in the same order, or an
 * object with it as "rewards". Refused connections, time-outs and the statuses 408, 425, 429 and 5xx are
 * tried again after a pause that doubles. */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "reward/exchange.h"
#include "reward/reward_kinds.h"

enum { MOST_CONNECTIONS = 256, ANSWER_LIMIT = 256 << 20 };

typedef struct http_scorer {
    reward_scorer base;
    char *url;
    struct curl_slist *headers;
    double timeout;
    int attempts;
    size_t at_once;
    CURL **idle; /* [ways] connections that nobody uses */
    int idle_count;
    pthread_mutex_t lock;
    pthread_cond_t given_back;
} http_scorer;

/* What came of one attempt. */
typedef struct reply {
    strbuf body;
    long status;
    double retry_after; /* seconds the server asks for; 0: it does not */
    int again;          /* worth another attempt */
    char problem[256];  /* "" when the body is an answer */
} reply;

/* ---- one request --------------------------------------------------------------------------------- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    strbuf *body = context;
    if (body->length + size * count > ANSWER_LIMIT)
        return 0;
    strbuf_append(body, bytes, size * count);
    return body->failed ? 0 : size * count;
}

static void judge_status(reply *r, CURL *connection)
{
    curl_off_t wait = 0;
    curl_easy_getinfo(connection, CURLINFO_RESPONSE_CODE, &r->status);
    curl_easy_getinfo(connection, CURLINFO_RETRY_AFTER, &wait);
    r->retry_after = (double)wait;
    if (r->status / 100 == 2)
        return;
    r->again = r->status == 408 || r->status == 425 || r->status == 429 || r->status / 100 == 5;
    snprintf(r->problem, sizeof r->problem, "the server answers %ld: %.160s", r->status, strbuf_text(&r->body));
}

static void request(http_scorer *self, CURL *connection, const char *text, reply *r)
{
    char why[CURL_ERROR_SIZE] = "";
    strbuf_clear(&r->body);
    r->again = 0;
    r->problem[0] = 0;
    curl_easy_setopt(connection, CURLOPT_URL, self->url);
    curl_easy_setopt(connection, CURLOPT_HTTPHEADER, self->headers);
    curl_easy_setopt(connection, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(text));
    curl_easy_setopt(connection, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(connection, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(connection, CURLOPT_WRITEDATA, &r->body);
    curl_easy_setopt(connection, CURLOPT_TIMEOUT_MS, (long)ceil(self->timeout * 1000));
    curl_easy_setopt(connection, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(connection, CURLOPT_NOSIGNAL, 1L); /* threads */
    CURLcode code = curl_easy_perform(connection);
    curl_easy_setopt(connection, CURLOPT_ERRORBUFFER, NULL);
    if (code == CURLE_OK) {
        judge_status(r, connection);
        return;
    }
    r->again = code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL && code != CURLE_WRITE_ERROR &&
               code != CURLE_PEER_FAILED_VERIFICATION;
    snprintf(r->problem, sizeof r->problem, "%s", code == CURLE_WRITE_ERROR ? "the answer is larger than 256 MiB"
             : *why ? why : curl_easy_strerror(code));
}

static void pause_before(int attempt, double asked)
{
    double seconds = fmin(fmax(0.2 * ldexp(1, attempt), asked), 30);
    struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    nanosleep(&t, NULL);
}

static void request_until_answered(http_scorer *self, CURL *connection, const char *text, reply *r)
{
    for (int attempt = 0;; attempt++) {
        request(self, connection, text, r);
        if (!r->again || attempt + 1 >= self->attempts)
            break;
        pause_before(attempt, r->retry_after);
    }
    if (r->again) {
        size_t n = strlen(r->problem);
        snprintf(r->problem + n, sizeof r->problem - n, " (after %d attempts)", self->attempts);
    }
}

/* ---- batches ----------------------------------------------------------------------------------------- */

static char *write_request(const grpo_reward_record *records, size_t n)
{
    json_t *list = json_array(), *object = json_pack("{s:o}", "records", list);
    int failed = !object;
    for (size_t i = 0; i < n && !failed; i++)
        failed = json_array_append_new(list, reward_record_json(&records[i])) != 0;
    char *text = failed ? NULL : json_text(object);
    json_decref(object);
    return text;
}

static void read_reply(const reply *r, reward_score *scores, size_t n, reward_detail detail)
{
    json_t *answer = NULL, *list = NULL;
    char problem[256];
    snprintf(problem, sizeof problem, "%s", r->problem);
    if (!*problem && json_parse(&answer, strbuf_text(&r->body), r->body.length, "the answer", NULL) != GRPO_OK)
        snprintf(problem, sizeof problem, "the server's answer is not JSON: %.120s", strbuf_text(&r->body));
    list = json_is_array(answer) ? answer : json_object_get(answer, "rewards");
    if (!*problem && !json_is_array(list))
        snprintf(problem, sizeof problem, "the server's answer has no array of rewards: %.120s", strbuf_text(&r->body));
    else if (!*problem && json_array_size(list) != n)
        snprintf(problem, sizeof problem, "the server gave %zu rewards for %zu records", json_array_size(list), n);
    for (size_t i = 0; i < n; i++) {
        if (*problem)
            reward_unscored(&scores[i], "%s", problem);
        else
            reward_read_answer(&scores[i], json_array_get(list, i), detail);
    }
    json_decref(answer);
}

static CURL *take_connection(http_scorer *self)
{
    pthread_mutex_lock(&self->lock);
    while (self->idle_count == 0)
        pthread_cond_wait(&self->given_back, &self->lock);
    CURL *connection = self->idle[--self->idle_count];
    pthread_mutex_unlock(&self->lock);
    return connection;
}

static void give_back(http_scorer *self, CURL *connection)
{
    pthread_mutex_lock(&self->lock);
    self->idle[self->idle_count++] = connection;
    pthread_cond_signal(&self->given_back);
    pthread_mutex_unlock(&self->lock);
}

static grpo_status score(reward_scorer *base, const grpo_reward_record *records, size_t n, reward_score *scores,
                         reward_detail detail, grpo_error *err)
{
    http_scorer *self = (http_scorer *)base;
    reply r = {0};
    grpo_status status = GRPO_OK;
    CURL *connection = take_connection(self);
    for (size_t first = 0, m; first < n && status == GRPO_OK; first += m) {
        m = n - first < self->at_once ? n - first : self->at_once;
        char *text = write_request(records + first, m);
        if (text) {
            request_until_answered(self, connection, text, &r);
            read_reply(&r, scores + first, m, detail);
        } else {
            status = mem_fail(err, "records for a reward's server", m);
        }
        mem_free(text);
    }
    give_back(self, connection);
    strbuf_deinit(&r.body);
    return status;
}

/* ---- making -------------------------------------------------------------------------------------------- */

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static void destroy(reward_scorer *base)
{
    http_scorer *self = (http_scorer *)base;
    for (int i = 0; i < self->idle_count; i++)
        curl_easy_cleanup(self->idle[i]);
    curl_slist_free_all(self->headers);
    pthread_mutex_destroy(&self->lock);
    pthread_cond_destroy(&self->given_back);
    mem_free(self->idle);
    mem_free(self->url);
    mem_free(self);
}

static grpo_status prepare(http_scorer *self, const char *scheme, const char *argument, grpo_error *err)
{
    strbuf url = STRBUF_INIT;
    strbuf_printf(&url, "%s%s", strncmp(argument, "//", 2) == 0 ? scheme : "", argument);
    self->url = strbuf_detach(&url);
    self->headers = curl_slist_append(NULL, "Content-Type: application/json");
    self->idle = mem_calloc((size_t)self->base.ways, sizeof *self->idle);
    for (int i = 0; self->idle && i < self->base.ways; i++) {
        CURL *connection = curl_easy_init();
        if (!connection)
            break;
        self->idle[self->idle_count++] = connection;
    }
    return self->url && self->headers && self->idle && self->idle_count == self->base.ways
               ? GRPO_OK
               : mem_fail(err, "a reward's connections", 0);
}

static grpo_status create(reward_scorer **out, const char *scheme, const char *argument, const grpo_reward_options *options,
                          grpo_error *err)
{
    static const reward_class class = {.score = score, .destroy = destroy, .thread_safe = 1};
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (strncmp(argument, "//", 2) != 0 && strncmp(argument, "http://", 7) != 0 && strncmp(argument, "https://", 8) != 0)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward http: '%s' is no URL (http://host:port/path)", argument);
    if (options->workers > MOST_CONNECTIONS)
        return grpo_fail(err, GRPO_ERR_CONFIG, "reward http: %d connections are more than %d", options->workers, MOST_CONNECTIONS);
    pthread_once(&once, start_curl);
    http_scorer *self = mem_calloc(1, sizeof *self);
    if (!self)
        return mem_fail(err, "a reward", sizeof *self);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->given_back, NULL);
    self->base.class = &class;
    self->base.ways = options->workers > 0 ? options->workers : 4;
    self->timeout = options->timeout > 0 ? options->timeout : 30;
    self->attempts = options->attempts > 0 ? options->attempts : 4;
    self->at_once = options->at_once > 0 ? (size_t)options->at_once : 64;
    grpo_status status = prepare(self, scheme, argument, err);
    if (status != GRPO_OK) {
        destroy(&self->base);
        return status;
    }
    *out = &self->base;
    return GRPO_OK;
}

grpo_status reward_http_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    return create(out, "http:", argument, options, err);
}

grpo_status reward_https_create(reward_scorer **out, const char *argument, const grpo_reward_options *options, grpo_error *err)
{
    return create(out, "https:", argument, options, err);
}
