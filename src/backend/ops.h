/* The operations that a transformer is made of, on packed rows, in f32 arithmetic. model/ is written over
 * these alone; src/backend/cpu implements them with vector code chosen at run time, and
 * src/backend/ref states each one as plain loops (same order of operations, same bits) that the
 * tests compare with.
 *
 * Conventions
 *   - Matrices are row-major; a row stride (ld...) counts elements. A "row" is one token.
 *   - Row law: every forward operation computes each row from that row's inputs and its own
 *     sequence's keys and values alone, in a fixed order of floating-point operations. The bits do
 *     not depend on which rows share the call, how many, or how many threads run.
 *   - Backward operations are deterministic in the same sense for fixed row lists (see each).
 *   - `pool` may be NULL (one thread). No operation allocates or fails: scratch comes from the
 *     caller (ops_scratch), shapes are the caller's duty (asserted).
 *   - "fma chain" means acc = fma(a_i, b_i, acc) for rising i from acc = 0.
 *   - Vectors have OPS_LANES = 16 lanes on every machine (several registers where the hardware's
 *     are shorter); a "lane sum" adds element i into lane i % 16 in rising order of i and combines
 *     the lanes by halving: 16 -> 8 -> 4 -> 2 -> 1, lane j with lane j + half. */
#ifndef BACKEND_OPS_H
#define BACKEND_OPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "grpo/error.h"

enum {
    OPS_LANES = 16,
    OPS_PANEL = 32,        /* output columns of one panel of a packed matrix */
    OPS_KV_BLOCK = 16,     /* positions in one block of the key/value store */
    OPS_VOCAB_BLOCK = 512, /* vocabulary entries in one block of the head's softmax */
};

/* ---- matrices ------------------------------------------------------------------------ */

/* How a matrix is stored and multiplied. BF16 halves the bytes that decoding streams from memory; the arithmetic
 * on it is that of f32, so a result has the bits that an f32 matrix of the same (rounded) numbers gives.
 *
 * BF16_DOT is stored as BF16 is. A product with it rounds its other operand to bf16 too (to nearest even,
 * denormals to zero of their sign) and is a "dot chain" wherever a fma chain is written: terms are taken in pairs
 * (i, i + 1), i even from the start of the chunk, and acc = fma(a_i, b_i, fma(a_i+1, b_i+1, acc)), the odd one
 * first, every fma rounded to f32, zeros behind an odd end. That is AVX512-BF16's vdpbf16ps; with two
 * instructions any other set gives the same bits.
 *
 * BF16_TILE differs from BF16_DOT in the order alone, which is that of AMX's TDPBF16PS (Intel's manual, volume 2;
 * compared bit for bit on an Emerald Rapids). A "tile chain" takes terms in blocks of 32, the last one filled up with
 * zeros: with E the fma chain over a block's even terms and O that over its odd ones, both from 0,
 * acc = acc + (E + O), from acc = 0. A product's whole reduction is one tile chain, without chunks. */
typedef enum ops_type { OPS_F32, OPS_BF16, OPS_BF16_DOT, OPS_BF16_TILE } ops_type;

enum { OPS_TILE_BLOCK = 32 }; /* terms of one block of a tile chain */

/* Whether a product rounds its other operand to bf16 too. */
static inline int ops_rounds_both(ops_type type)
{
    return type == OPS_BF16_DOT || type == OPS_BF16_TILE;
}

/* A weight W[n][k] (a Linear's [out][in]), packed: panels of 32 output columns, each stored
 * [k][32]; the last panel is padded with zeros (and must stay so). Element (i, j) lies at
 * data[((i / 32) * k + j) * 32 + i % 32].
 * In BF16 a panel is stored [ceil(k / 2)][32][2]: a 32-bit word holds the elements j (even, low half) and
 * j + 1 of a column, which become f32 by a shift and a mask, and which is the order that AMX and
 * AVX512-BF16 want. The half behind an odd k is zero. */
typedef struct ops_matrix {
    int n, k;
    union {
        float *data; /* 64-byte aligned */
        uint32_t *pairs; /* BF16 */
    };
    ops_type type;
} ops_matrix;

static inline ops_matrix ops_matrix_f32(int n, int k, float *data)
{
    return (ops_matrix){.n = n, .k = k, .data = data};
}

static inline ops_matrix ops_matrix_bf16(int n, int k, uint32_t *pairs)
{
    return (ops_matrix){.n = n, .k = k, .pairs = pairs, .type = OPS_BF16};
}

/* 32-bit words of one panel: 32 * k, or 32 * ceil(k / 2) in BF16. */
static inline size_t ops_panel_words(ops_matrix w)
{
    return (size_t)OPS_PANEL * (size_t)(w.type == OPS_F32 ? w.k : (w.k + 1) / 2);
}

/* Rows [first, first + n) of w, first a multiple of 32. */
static inline ops_matrix ops_matrix_rows(ops_matrix w, int first, int n)
{
    w.data += (size_t)(first / OPS_PANEL) * ops_panel_words(w);
    w.n = n;
    return w;
}

/* What to pack W^T into for the product that dy takes: of w's arithmetic, in ops_matrix_elements(w.k, w.n) floats. */
static inline ops_matrix ops_transposed(ops_matrix w, float *data)
{
    return (ops_matrix){.n = w.k, .k = w.n, .data = data, .type = ops_rounds_both(w.type) ? w.type : OPS_F32};
}

/* Elements that a packed [n][k] matrix of f32 takes, ceil(n / 32) * 32 * k, and the bytes in either type. */
size_t ops_matrix_elements(int n, int k);
size_t ops_matrix_bytes(ops_type type, int n, int k);

/* Rounding to BF16 is to nearest, ties to even; NaN stays NaN. */
void ops_pack(pool *p, ops_matrix w, const float *src, int lds);   /* src[n][lds] -> w */
void ops_unpack(pool *p, float *dst, int ldd, ops_matrix w);       /* w -> dst[n][ldd] */
void ops_pack_transposed(pool *p, ops_matrix t, ops_matrix w);     /* t = W^T: t.n = w.k, t.k = w.n */
void ops_round(pool *p, ops_matrix to, ops_matrix from);           /* to (bf16) = from (f32), same shape */

/* One y[m][w.n] of a product. y = (x W^T) + bias + residual, added in this order after the
 * reduction; bias [n] and residual [m][ldr] may be NULL; residual may be y itself. */
typedef struct ops_product {
    ops_matrix w;
    float *y;
    int ldy;
    const float *bias;
    const float *residual;
    int ldr;
} ops_product;

/* Several products of the same x[m][ldx] (all w.k equal), e.g. q, k and v. Forward operation:
 * obeys the row law. The reduction over k is cut into chunks of 512 (1,024 when k >= 1,536);
 * inside a chunk it is an fma chain from 0, and chunk sums are added left to right. */
void ops_gemm(pool *p, const ops_product *products, int count, const float *x, int ldx, int m);

/* dw (f32, as all gradients are) += dy^T x, dw packed [n][k], dy[m][lddy] with n columns, x[m][ldx] with k columns. Rows are
 * cut into chunks of 512 from the first; inside a chunk an fma chain over the rows from 0; chunk
 * sums are added to dw in order. operands: BF16_DOT and BF16_TILE round both and make it a dot or a tile chain;
 * others are alike. */
void ops_gemm_dw(pool *p, ops_type operands, ops_matrix dw, const float *dy, int lddy, const float *x, int ldx, int m);

/* db[n] += column sums of dy[m][lddy] (rows added in order from 0). */
void ops_bias_grad(pool *p, float *db, const float *dy, int lddy, int n, int m);

/* Embedding lookup from the packed matrix: y[r][k] = scale * W[token[r]][.], and its gradient
 * dw[token[r]][.] += scale * dy[r][.] in row order. */
void ops_embed(pool *p, float *y, int ldy, ops_matrix w, const int32_t *token, int m, float scale);
void ops_embed_grad(pool *p, ops_matrix dw, const float *dy, int lddy, const int32_t *token, int m,
                    float scale);

/* ---- per-row operations --------------------------------------------------------------- */

/* RMSNorm (Zhang and Sennrich 2019): y = x * rstd * (w + offset), rstd = 1 / sqrt(lane sum of
 * squares / n + eps). `groups` norms of n columns each stand side by side in a row (q/k norm:
 * groups = heads, w shared). x and y may be the same. */
void ops_rmsnorm(pool *p, float *y, int ldy, const float *x, int ldx, const float *w, float offset,
                 float eps, int groups, int n, int m);

/* Given dy, writes dx (added to dx when accumulate is 1) and adds to dw[n] (may be NULL). The sum
 * into dw runs over rows in order (groups in order inside a row), in chunks of 64 rows whose sums are
 * added to dw in order, so that any number of threads gives the same bits. dx may be dy. */
void ops_rmsnorm_grad(pool *p, float *dx, int lddx, int accumulate, float *dw, const float *dy,
                      int lddy, const float *x, int ldx, const float *w, float offset, float eps,
                      int groups, int n, int m);

/* Rotary embedding (Su et al. 2021), halves form: for head h and i < rot/2, with c = cos[pos][i], s = sin[pos][i]:
 * (a, b) = (x[i], x[i + rot/2]) -> (a c - b s, b c + a s), each as fma. Dimensions from rot up
 * are left alone. cos and sin are tables [positions][rot/2]. In place on x[m][ldx] with `heads`
 * heads of head_dim columns. inverse = 1 rotates back (the gradient). */
void ops_rope(pool *p, float *x, int ldx, int heads, int head_dim, int rot, const float *cos_table,
              const float *sin_table, const int32_t *pos, int inverse, int m);

typedef enum ops_activation { OPS_SILU, OPS_GELU_TANH } ops_activation;

/* y = act(gate) * up; y may be gate. */
void ops_glu(pool *p, ops_activation act, float *y, int ldy, const float *gate, int ldg,
             const float *up, int ldu, int n, int m);
/* dgate, dup from dy (dgate may be dy). Also rewrites y = act(gate) * up when y is not NULL (the
 * backward pass of the down projection needs it and it is not kept). */
void ops_glu_grad(pool *p, ops_activation act, float *dgate, int lddg, float *dup, int lddu, float *y,
                  int ldy, const float *dy, int lddy, const float *gate, int ldg, const float *up,
                  int ldu, int n, int m);

/* y += x, rows of n columns. */
void ops_add(pool *p, float *y, int ldy, const float *x, int ldx, int n, int m);

/* ---- mixtures of experts ------------------------------------------------------------------ */

/* Router with softmax before the choice (Qwen3-MoE). For each row of logits z[m][ldz]:
 *   M = max z; e_i = exp(z_i - M); p_i = e_i / (lane sum of e), written over z;
 *   expert[r][used]: the ids of the `used` largest logits (of equal ones the lower ids), in rising order;
 *   weight[r][used]: their p_i; with renormalise divided by their sum (added in id order).
 * Logits that are NaN give weights that are NaN, but always `used` different ids. */
void ops_route(pool *p, int32_t *expert, float *weight, float *z, int ldz, int experts, int used,
               int renormalise, int m);

/* Gradient with respect to the logits, from dweight[r][used]; z holds p (as ops_route leaves it) and is
 * overwritten. With D = fma chain over the row's choices of weight_j and dweight_j:
 *   renormalised: weight_j * (dweight_j - D) for the chosen, exactly 0 for the others;
 *   otherwise:    p_j * (dweight_j - D) for the chosen, -(p_i * D) for the others. */
void ops_route_grad(pool *p, float *z, int ldz, const int32_t *expert, const float *weight,
                    const float *dweight, int experts, int used, int renormalise, int m);

/* Copies rows of n columns: y[i] = x[row[i]], and y[row[i]] = x[i] (rows all different). */
void ops_gather(pool *p, float *y, int ldy, const float *x, int ldx, const int32_t *row, int n, int m);
void ops_scatter(pool *p, float *y, int ldy, const int32_t *row, const float *x, int ldx, int n, int m);

/* y[r] += weight[r][j] * x[place[r][j] - first], one fma, for the row's j = 0 .. used - 1 in this order, those
 * whose place lies in [first, first + count); the others are left out. weight NULL: plain additions. Results of
 * experts come together in this way a stretch of places at a time: the cuts change no bit as long as places rise
 * with j. */
void ops_combine(pool *p, float *y, int ldy, const float *x, int ldx, const int32_t *place,
                 const float *weight, int used, int first, int count, int n, int m);

/* For the gradient of weight * (W x) from d = dy W, before the weight: dot[i] = lane sum of d_i x_i (the
 * weight's gradient), then both rows are multiplied by weight[i]. */
void ops_scale_grad(pool *p, float *dot, float *d, int ldd, float *x, int ldx, const float *weight, int n,
                    int m);

/* ---- attention -------------------------------------------------------------------------- */

/* One layer's part of the key/value store. Positions are stored in blocks of 16: block b of
 * key/value head h starts at base + b * block_stride + h * 2 * 16 * head_dim; there first the keys,
 * transposed, [head_dim][16], then the values, [16][head_dim]. */
typedef struct ops_kv {
    float *base;
    size_t block_stride; /* elements */
    int heads, kv_heads, head_dim;
    int window;  /* a query at position i sees j with i - window < j <= i; 0 = all j <= i */
    float scale; /* scores are scale * (q . k) */
} ops_kv;

/* Consecutive rows of the batch that belong to one sequence at consecutive positions. */
typedef struct ops_span {
    const int32_t *blocks; /* the sequence's block table: position j is in blocks[j / 16] */
    int first_row, rows, first_pos;
} ops_span;

/* Stores k[row][kv_heads * head_dim] and v at the spans' positions. */
void ops_kv_write(pool *p, ops_kv kv, const ops_span *spans, int count, const float *k, int ldk,
                  const float *v, int ldv);
/* The reverse: copies stored keys and values of the spans' positions into rows. */
void ops_kv_read(pool *p, ops_kv kv, const ops_span *spans, int count, float *k, int ldk, float *v,
                 int ldv);

/* Causal attention with grouped queries (query head h uses key/value head h / (heads / kv_heads)).
 * out[row][heads * head_dim]. Forward operation, row law, with this order for a query at position i:
 *   s_j = scale * (fma chain over d of q_d k_jd) for every visible j; M = max s_j;
 *   e_j = exp(s_j - M); the sum of e_j is a lane sum over j (lane j % 16, absolute positions);
 *   out_d = (fma chain over visible j, rising, of e_j v_jd) / sum  (one division: out = acc * (1/sum)).
 * Blocks beyond a query's position are never read into its result, whatever they hold. */
void ops_attention(pool *p, ops_kv kv, const ops_span *spans, int count, const float *q, int ldq,
                   float *out, int ldo);

/* Backward pass. Spans are grouped: the spans of one group share a prefix of `prefix` positions
 * (the prompt) whose key/value gradients are summed over the group's spans in order. */
typedef struct ops_span_grad {
    ops_span span; /* rows index q, out, dout and dq */
    int prefix;    /* positions below this are the group's shared prompt */
    /* Gradients of the sequence's own keys and values: row (j - prefix) for position j >= prefix,
     * and of the shared ones: row j for j < prefix. All are added to; row stride ldkv. */
    float *dk_own, *dv_own, *dk_prefix, *dv_prefix;
} ops_span_grad;

typedef struct ops_group {
    int first, count; /* its spans in the list; processed in list order */
} ops_group;

/* dq is overwritten; dk and dv are added to (gradients with respect to the stored, rotated keys).
 * `out` is the forward result. With p_j = e_j * (1 / sum) as in the forward pass, D = lane sum of
 * dout_d out_d, dp_j = fma chain over d of dout_d v_jd and ds_j = scale * (p_j * (dp_j - D)):
 *   dq_d = fma chain over visible j, rising, of ds_j k_jd;
 *   dk_jd = fma chain, going on from what is there, of ds_j q_d, and dv_jd likewise of p_j dout_d, over the
 *   group's spans in list order, rows in order, heads in order. A query takes part for every key of the
 *   blocks that it sees something of (with ds = p = 0 for the others), the prompt's last key or its span's
 *   last row at most.
 * So the bits depend neither on threads nor on how groups are spread over calls. Every span of a group has
 * the same prefix. scratch: scratch_per_thread floats for each thread of the pool, at least
 * ops_attention_grad_scratch (more is never wrong), where max_positions bounds first_pos + rows. */
void ops_attention_grad(pool *p, ops_kv kv, const ops_span_grad *spans, const ops_group *groups,
                        int n_groups, const float *q, int ldq, const float *out, int ldo,
                        const float *dout, int lddo, float *dq, int lddq, int ldkv, float *scratch,
                        size_t scratch_per_thread);
size_t ops_attention_grad_scratch(ops_kv kv, int max_positions);

/* ---- head: logits, log-softmax, their gradient ------------------------------------------- */

/* With z_v = (h . W_v) * inv_temperature over the allowed entries v of a row (all of them, or those
 * whose bit is set in its bitmap), block b = entries [512 b, 512 b + 512):
 *   M = max z over all blocks; for each block m_b = max z, s_b = lane sum of exp(z - m_b) (lane v % 16);
 *   S = fma chain over blocks of s_b and w_b = exp(m_b - M);
 *   log p_v = (z_v - M) - log S (-inf for an entry that is not allowed);
 *   entropy: u_b = lanes' fma chains of exp(z - m_b) and z - m_b, combined as a lane sum;
 *   T = fma chain over blocks of u_b + s_b * (m_b - M) (one fma) and w_b; H = log S - T / S.
 * Terms whose exponential is 0 and blocks without an allowed entry are skipped. The sampling path (whole rows of logits) and the
 * training path (a block at a time, nothing stored) compute exactly this. */
typedef struct ops_softmax_row {
    float max, sum;     /* M and S */
    float entropy;      /* -sum p log p, nats; only where asked for (0 otherwise) */
} ops_softmax_row;

/* z[m][ldz] = logits * inv_temperature for whole rows (ldz >= vocabulary; entries beyond the vocabulary
 * are not written), and rows[m] (entropy included when want_entropy). Used while sampling. scratch:
 * ops_head_scratch floats, as for ops_head_logprob. */
void ops_head_logits(pool *p, ops_matrix w, const float *h, int ldh, float inv_temperature, float *z,
                     int ldz, ops_softmax_row *rows, int want_entropy, int m, float *scratch);

/* The statistics of rows of z under a bitmap each (bit v of allowed[r][v / 32]; NULL = all allowed). */
void ops_softmax_stats(pool *p, const float *z, int ldz, int vocab, const uint32_t *const *allowed,
                       ops_softmax_row *rows, int want_entropy, int m);

/* The entry drawn by inverse transform: the first v whose cumulative probability, in id order, exceeds
 * `uniform` in [0, 1). stats: of this row under the same bitmap (allowed may be NULL). In double, blocks of 512
 * first: a block weighs s_b * exp(m_b - M), a float; then inside the block where their sum passes uniform * total.
 * -1: nothing has any weight. */
int32_t ops_softmax_draw(const float *z, int vocab, const uint32_t *allowed, ops_softmax_row stats,
                         double uniform);

/* exp(z_v - max) as the operations above compute it, and log as they compute it. */
float ops_exp(float x);
float ops_log(float x);

/* Log-probs of given targets without storing logits: logprob[r] of target[r] and rows[r].
 * allowed may be NULL (no row is truncated). scratch: ops_head_scratch floats (for any m up to the one
 * given; the same pool). */
size_t ops_head_scratch(pool *p, int k, int vocab, int m);
void ops_head_logprob(pool *p, ops_matrix w, const float *h, int ldh, float inv_temperature,
                      const int32_t *target, const uint32_t *const *allowed, float *logprob,
                      ops_softmax_row *rows, int want_entropy, int m, float *scratch);

/* Gradient of sum_r coef[r] * logprob_r + entropy_coef[r] * entropy_r (entropy_coef may be NULL; then
 * rows need no entropy). Logits are recomputed a block at a time; dw (packed like w; data NULL for a
 * frozen head) is added to and dh[m][lddh] overwritten. With l = (z - M) - log S and p = exp(l), the
 * gradient with respect to h . W_v is
 *   (-(p * fma(entropy_coef, l + H, coef)) + (coef if v is the target)) * inv_temperature,
 * 0 for entries that are not allowed. Rows whose coefficients are 0 cost nothing: their dh is 0, and the
 * others, side by side, are the rows of dw's sum as in ops_gemm_dw (chunks of 512, operands of w.type). dh: fma
 * chain over v inside blocks of 512 entries, block sums added in order. */
void ops_head_grad(pool *p, ops_matrix w, ops_matrix dw, const float *h, int ldh,
                   float inv_temperature, const int32_t *target, const uint32_t *const *allowed,
                   const ops_softmax_row *rows, const float *coef, const float *entropy_coef, float *dh,
                   int lddh, int m, float *scratch);

/* ---- optimiser ---------------------------------------------------------------------------- */

/* In double: PyTorch forms 1 - beta, lr / bias1 and so on in double and rounds the results to f32. */
typedef struct ops_adamw {
    double lr, beta1, beta2, eps, weight_decay;
    double bias1, bias2; /* 1 - beta1^t, 1 - beta2^t */
    double grad_scale;   /* clipping coefficient, applied to g first */
} ops_adamw;

/* Decoupled weight decay (Loshchilov and Hutter 2019) in PyTorch's order; capitals are the double
 * expressions rounded to f32, nothing is fused:
 *   g = g * GRAD_SCALE;  p = p * (1 - LR * WEIGHT_DECAY);
 *   m = m + (g - m) * (1 - BETA1);  v = v * BETA2 + (1 - BETA2) * g * g (product from the left);
 *   p = p - (LR / BIAS1) * (m / (sqrt(v) / sqrt(BIAS2) + EPS)).
 * Elementwise over n entries; zero-padded entries with zero gradients stay zero. */
void ops_adamw_step(pool *p, ops_adamw a, float *param, const float *grad, float *m, float *v, size_t n);

/* Sum of squares in double: chunks of 4,096 elements, a lane sum (in double) of each,
 * added in order. NaN and infinity show. */
double ops_sum_squares(pool *p, const float *x, size_t n);

/* ---- dispatch ------------------------------------------------------------------------------- */

/* The instruction set in use: "amx", "avx512bf16", "avx512", "avx2", "neon" or "portable". Chosen at first use from the
 * CPU, or by the environment variable GRPO_ISA. All of them give the same bits. */
const char *ops_isa(void);
/* Call at start: GRPO_ERR_CONFIG when GRPO_ISA names a set that this machine does not have (the
 * operations, which cannot fail, would then run on the best available one). */
grpo_status ops_check(grpo_error *err);
/* Switches (tests, bench); returns 0, or -1 when this machine cannot run it. */
int ops_select_isa(const char *name);
/* Whether products of this type are faster than those of f32: BF16_TILE needs AMX, BF16_DOT AVX512-BF16 on an AMD
 * processor (an Intel one takes two cycles for what f32 does in one). BF16 is never faster than f32 but at a few rows, where
 * memory is waited for. */
int ops_is_fast(ops_type type);

#endif
