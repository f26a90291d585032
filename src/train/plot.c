/* SVG line charts. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/plot.h"

enum { WIDTH = 470, HEIGHT = 250, LEFT = 54, RIGHT = 16, TOP = 44, BOTTOM = 34, HEAD = 46, MOST_POINTS = 800 };

typedef struct axis {
    double low, high;   /* shown */
    double first, step; /* ticks */
} axis;

typedef struct frame { /* of a panel, in pixels */
    double left, top, width, height;
    axis x, y;
} frame;

/* ---- axes ------------------------------------------------------------------------------------------ */

void plot_ticks(double low, double high, int wanted, double *first, double *step)
{
    static const double nice[] = {1, 2, 2.5, 5, 10};
    double rough = (high - low) / wanted, power = pow(10, floor(log10(rough)));
    *step = 10 * power;
    for (int i = 0; i < 5; i++)
        if (nice[i] * power >= rough * (1 - 1e-9)) {
            *step = nice[i] * power;
            break;
        }
    *first = ceil(low / *step - 1e-9) * *step;
}

static bool extent(const plot_panel *p, bool of_x, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (size_t k = 0; k < p->count; k++)
        for (size_t i = 0; i < p->series[k].count; i++) {
            double v = of_x ? p->series[k].x[i] : p->series[k].y[i];
            if (!isfinite(v) || !isfinite(p->series[k].y[i]))
                continue;
            *low = fmin(*low, v);
            *high = fmax(*high, v);
        }
    return *low <= *high;
}

static axis x_axis(double low, double high)
{
    axis a = {.low = low, .high = high > low ? high : low + 1};
    plot_ticks(a.low, a.high, 6, &a.first, &a.step);
    if (a.step < 1) { /* steps are whole */
        a.step = 1;
        a.first = ceil(a.low);
    }
    return a;
}

static axis y_axis(const plot_panel *p, double low, double high)
{
    axis a;
    if ((p->from_zero || p->percent) && low > 0)
        low = 0;
    if (high - low < 1e-12 * fmax(1, fabs(high))) {
        low -= low > 0 || low < 0 ? fabs(low) * 0.1 : 0;
        high += high > 0 || high < 0 ? fabs(high) * 0.1 : 1;
    }
    double pad = (high - low) * 0.06;
    a.low = (p->from_zero || p->percent) && low == 0 ? 0 : low - pad;
    a.high = p->percent ? fmin(1.0, high + pad) : high + pad;
    plot_ticks(a.low, a.high, 5, &a.first, &a.step);
    return a;
}

static void put_number(strbuf *out, double v, const axis *a, bool percent)
{
    double scale = percent ? 100 : 1;
    v *= scale;
    double step = a->step * scale;
    if (fabs(v) < step * 1e-6)
        v = 0;
    if (fmax(fabs(a->low), fabs(a->high)) * scale >= 1e5 || step < 1e-4) {
        strbuf_printf(out, "%.3g", v);
    } else {
        int digits = step >= 1 && step == floor(step) ? 0 : (int)fmax(0, ceil(-log10(step) - 1e-9));
        digits += step * pow(10, digits) < 2.4 || fabs(step * pow(10, digits) - 2.5) > 1e-6 ? 0 : 1; /* 0.25 */
        strbuf_printf(out, "%.*f", digits, v);
    }
    strbuf_puts(out, percent ? "%" : "");
}

static double place(const axis *a, double v, double from, double length)
{
    return from + (v - a->low) / (a->high - a->low) * length;
}

/* ---- lines ------------------------------------------------------------------------------------------- */

typedef struct points {
    double x[MOST_POINTS], y[MOST_POINTS];
    size_t count;
} points;

/* The finite values of a series; long ones are thinned to means of neighbours. */
static void thin(points *p, const plot_series *s)
{
    size_t finite = 0, i = 0, seen = 0;
    for (size_t k = 0; k < s->count; k++)
        finite += isfinite(s->y[k]) != 0;
    size_t buckets = finite < MOST_POINTS ? finite : MOST_POINTS;
    p->count = 0;
    for (size_t b = 0; b < buckets; b++) {
        size_t end = finite * (b + 1) / buckets, n = 0;
        double x = 0, y = 0;
        for (; seen < end; i++)
            if (isfinite(s->y[i])) {
                x += s->x[i];
                y += s->y[i];
                n++;
                seen++;
            }
        p->x[p->count] = x / (double)n;
        p->y[p->count++] = y / (double)n;
    }
}

/* Means weighted by a bell curve whose width is 1/25 of the series. */
static void smooth(points *to, const points *from)
{
    double width = fmax(1.2, (double)from->count / 25);
    long reach = (long)ceil(3 * width), n = (long)from->count;
    to->count = from->count;
    for (long i = 0; i < n; i++) {
        double sum = 0, weights = 0;
        for (long j = i - reach < 0 ? 0 : i - reach; j < n && j <= i + reach; j++) {
            double d = (double)(j - i) / width, w = exp(-0.5 * d * d);
            sum += w * from->y[j];
            weights += w;
        }
        to->x[i] = from->x[i];
        to->y[i] = sum / weights;
    }
}

static void put_line(strbuf *out, const frame *f, const points *p, const char *class, size_t colour)
{
    strbuf_printf(out, "<polyline class=\"%s c%zu\" points=\"", class, colour);
    for (size_t i = 0; i < p->count; i++)
        strbuf_printf(out, "%s%.1f,%.1f", i ? " " : "", place(&f->x, p->x[i], f->left, f->width),
                      place(&f->y, p->y[i], f->top + f->height, -f->height));
    strbuf_puts(out, "\"/>\n");
}

static void put_series(strbuf *out, const frame *f, const plot_series *s, size_t colour, points *raw, points *even)
{
    thin(raw, s);
    if (raw->count == 0)
        return;
    bool smoothed = s->kind == PLOT_NOISY && raw->count >= 12;
    put_line(out, f, raw, smoothed ? "raw" : "line", colour);
    if (smoothed) {
        smooth(even, raw);
        put_line(out, f, even, "line", colour);
    }
    if (s->kind == PLOT_SPARSE || raw->count == 1)
        for (size_t i = 0; i < raw->count; i++)
            strbuf_printf(out, "<circle class=\"dot f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.2\"/>\n", colour,
                          place(&f->x, raw->x[i], f->left, f->width),
                          place(&f->y, raw->y[i], f->top + f->height, -f->height));
}

/* ---- panels -------------------------------------------------------------------------------------------- */

static void put_escaped(strbuf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            strbuf_puts(out, "&lt;");
        else if (*text == '&')
            strbuf_puts(out, "&amp;");
        else if ((unsigned char)*text >= 0x20)
            strbuf_putc(out, *text);
    }
}

static void put_axes(strbuf *out, const frame *f, const plot_panel *p, const char *x_label)
{
    for (double v = f->y.first; v <= f->y.high + 1e-9 * f->y.step; v += f->y.step) {
        double y = place(&f->y, v, f->top + f->height, -f->height);
        strbuf_printf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", f->left,
                      f->left + f->width, y, y);
        strbuf_printf(out, "<text class=\"tick end\" x=\"%.1f\" y=\"%.1f\">", f->left - 7, y + 3.5);
        put_number(out, v, &f->y, p->percent);
        strbuf_puts(out, "</text>\n");
    }
    double bottom = f->top + f->height;
    strbuf_printf(out, "<line class=\"base\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", f->left, f->left + f->width,
                  bottom, bottom);
    for (double v = f->x.first; v <= f->x.high + 1e-9 * f->x.step; v += f->x.step) {
        double x = place(&f->x, v, f->left, f->width);
        strbuf_printf(out, "<text class=\"tick mid\" x=\"%.1f\" y=\"%.1f\">", x, bottom + 15);
        put_number(out, v, &f->x, false);
        strbuf_puts(out, "</text>\n");
    }
    strbuf_printf(out, "<text class=\"tick end\" x=\"%.1f\" y=\"%.1f\">", f->left + f->width, bottom + 29);
    put_escaped(out, x_label);
    strbuf_puts(out, "</text>\n");
}

/* Title at the left; where there are several series, their names with dots at the right. */
static void put_head(strbuf *out, const frame *f, const plot_panel *p)
{
    strbuf_printf(out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\">", f->left - 40, f->top - 18);
    put_escaped(out, p->title);
    strbuf_puts(out, "</text>\n");
    if (p->count < 2)
        return;
    double x = f->left + f->width;
    for (size_t k = p->count; k-- > 0;) {
        x -= 6.3 * (double)strlen(p->series[k].label);
        strbuf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">", x, f->top - 18);
        put_escaped(out, p->series[k].label);
        strbuf_printf(out, "</text><circle class=\"f%zu\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n", k, x - 9, f->top - 22);
        x -= 26;
    }
}

static void put_panel(strbuf *out, const plot_panel *p, double left, double top, const char *x_label, points *scratch)
{
    double x0, x1, y0, y1;
    extent(p, true, &x0, &x1);
    extent(p, false, &y0, &y1);
    frame f = {left + LEFT, top + TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, x_axis(x0, x1), y_axis(p, y0, y1)};
    put_head(out, &f, p);
    put_axes(out, &f, p, x_label);
    for (size_t k = 0; k < p->count; k++)
        put_series(out, &f, &p->series[k], k, &scratch[0], &scratch[1]);
}

static const char style[] =
    "<style>\n"
    "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#59636e}\n"
    ".back{fill:#ffffff}.title{font-size:17px;font-weight:600;fill:#1f2328}.name{font-size:13px;font-weight:600;fill:#1f2328}\n"
    ".tick{font-size:11px}.end{text-anchor:end}.mid{text-anchor:middle}\n"
    ".grid{stroke:#e7e9ec;stroke-width:1}.base{stroke:#b7bdc4;stroke-width:1}\n"
    "polyline{fill:none;stroke-linejoin:round;stroke-linecap:round}.raw{stroke-width:1;opacity:.32}.line{stroke-width:2}\n"
    ".c0{stroke:#2563eb}.c1{stroke:#d97706}.c2{stroke:#0d9488}.f0{fill:#2563eb}.f1{fill:#d97706}.f2{fill:#0d9488}\n"
    "@media (prefers-color-scheme:dark){text{fill:#9198a1}.back{fill:#0d1117}.title,.name{fill:#f0f6fc}.grid{stroke:#21262d}"
    ".base{stroke:#3d444d}.c0{stroke:#6ea8fe}.c1{stroke:#f5b455}.c2{stroke:#4fd1c5}.f0{fill:#6ea8fe}.f1{fill:#f5b455}"
    ".f2{fill:#4fd1c5}}\n"
    "</style>\n";

grpo_status plot_svg(strbuf *out, const char *title, const char *x_label, const plot_panel *panels, size_t count,
                     grpo_error *err)
{
    size_t shown = 0, at = 0;
    double low, high;
    for (size_t i = 0; i < count; i++)
        shown += extent(&panels[i], false, &low, &high);
    points *scratch = mem_calloc(2, sizeof *scratch);
    if (!scratch)
        return mem_fail(err, "a plot", 2 * sizeof *scratch);
    size_t columns = shown > 1 ? 2 : 1, rows = shown ? (shown + columns - 1) / columns : 1;
    int width = (int)columns * WIDTH + 16, height = HEAD + (int)rows * HEIGHT + 10;
    strbuf_printf(out,
                  "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
                  width, height, width, height);
    put_escaped(out, title);
    strbuf_printf(out, "</title>\n%s<rect class=\"back\" width=\"%d\" height=\"%d\"/>\n<text class=\"title\" x=\"14\" y=\"30\">",
                  style, width, height);
    put_escaped(out, title);
    strbuf_puts(out, "</text>\n");
    for (size_t i = 0; i < count; i++) {
        if (!extent(&panels[i], false, &low, &high))
            continue;
        put_panel(out, &panels[i], (double)(at % columns) * WIDTH, HEAD + (double)(at / columns) * HEIGHT, x_label, scratch);
        at++;
    }
    if (shown == 0)
        strbuf_puts(out, "<text class=\"name\" x=\"14\" y=\"80\">nothing was measured yet</text>\n");
    strbuf_puts(out, "</svg>\n");
    mem_free(scratch);
    return out->failed ? mem_fail(err, "a plot", out->length) : GRPO_OK;
}
