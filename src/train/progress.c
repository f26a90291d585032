/* Lines for people. */
#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "train/progress.h"

static void put(strbuf *out, double x, const char *format)
{
    if (isnan(x))
        return;
    strbuf_puts(out, "  ");
    char text[64];
    snprintf(text, sizeof text, format, x);
    strbuf_puts(out, text);
}

void progress_put_step(strbuf *out, const train_metrics *m, long total, double seconds_left)
{
    int width = snprintf(NULL, 0, "%ld", total);
    strbuf_printf(out, "step %*.0f/%ld", width, m->step, total);
    put(out, m->reward, "reward %.3f");
    put(out, 100 * m->accuracy, "accuracy %5.1f%%");
    put(out, m->completion_length, "length %.1f");
    if (m->frac_truncated > 0)
        put(out, 100 * m->frac_truncated, "cut %.0f%%");
    if (m->kl != 0)
        put(out, m->kl, "kl %.4f");
    put(out, m->entropy, "entropy %.2f");
    put(out, m->grad_norm, "grad %.3g");
    put(out, m->tokens_per_second, "%.0f tokens/s");
    put(out, m->time_step, "%.1f s");
    put(out, 100 * m->eval_accuracy, "held-out %.1f%%");
    if (seconds_left > 0) {
        char left[32];
        machine_format_seconds(left, seconds_left);
        strbuf_printf(out, "  left %s", left);
    }
}

void progress_init(progress *p, progress_sink *sink, void *context, bool terminal, long first, long total)
{
    *p = (progress){.sink = sink, .context = context, .terminal = terminal, .first = first, .total = total,
                    .interval = 1, .printed = NAN, .passed = NAN, .step_seconds = NAN, .step = first - 1};
}

double progress_seconds_left(const progress *p)
{
    return p->step_seconds * (double)(p->total - p->step);
}

/* The time of a step, as a mean over about the last ten: lengths change while a model learns. */
static void note_time(progress *p, const train_metrics *m)
{
    long seen = p->step - p->first + 1;
    double weight = 1 / (double)(seen < 10 ? seen : 10);
    if (isnan(m->time_step))
        return;
    p->step_seconds = isnan(p->step_seconds) ? m->time_step : p->step_seconds + weight * (m->time_step - p->step_seconds);
}

static void send(progress *p, strbuf *text, bool passing)
{
    if (p->sink && !text->failed)
        p->sink(p->context, strbuf_text(text), passing);
    strbuf_deinit(text);
}

void progress_step(progress *p, const train_metrics *m, double now)
{
    p->step = (long)m->step;
    note_time(p, m);
    bool due = isnan(p->printed) || now - p->printed >= p->interval || p->step >= p->total || !isnan(m->eval_accuracy);
    if (!due)
        return;
    strbuf text = STRBUF_INIT;
    progress_put_step(&text, m, p->total, progress_seconds_left(p));
    p->printed = p->passed = now;
    send(p, &text, false);
}

void progress_phase(progress *p, const char *phase, long done, long of, double now)
{
    if (!p->terminal || (!isnan(p->passed) && now - p->passed < 0.2))
        return;
    strbuf text = STRBUF_INIT;
    strbuf_printf(&text, "step %ld/%ld  %s", p->step < p->total ? p->step + 1 : p->total, p->total, phase);
    if (of > 0)
        strbuf_printf(&text, " %ld of %ld", done, of);
    p->passed = now;
    send(p, &text, true);
}

void progress_say(progress *p, const char *message)
{
    strbuf text = STRBUF_INIT;
    strbuf_puts(&text, message);
    send(p, &text, false);
}
