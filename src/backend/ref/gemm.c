/* Matrices: packing and products as plain loops. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "backend/ref/ref.h"
#include "base/mem.h"

static float *at(ops_matrix w, int i, int j)
{
    return &w.data[((size_t)(i / OPS_PANEL) * w.k + j) * OPS_PANEL + i % OPS_PANEL];
}

float ref_round_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (isnan(x))
        bits |= 0x400000u;
    else
        bits += 0x7fffu + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t *pair_at(ops_matrix w, int i, int j)
{
    return &w.pairs[((size_t)(i / OPS_PANEL) * ((w.k + 1) / 2) + j / 2) * OPS_PANEL + i % OPS_PANEL];
}

float ref_element(ops_matrix w, int i, int j)
{
    if (w.type == OPS_F32)
        return *at(w, i, j);
    uint32_t pair = *pair_at(w, i, j), bits = j % 2 ? pair & 0xffff0000u : pair << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void set_element(ops_matrix w, int i, int j, float x)
{
    if (w.type == OPS_F32) {
        *at(w, i, j) = x;
        return;
    }
    uint32_t *pair = pair_at(w, i, j), bits;
    x = ref_round_bf16(x);
    memcpy(&bits, &x, sizeof bits);
    *pair = j % 2 ? (*pair & 0xffffu) | bits : bits >> 16; /* even elements come first and clear the other */
}

static int padded(int n)
{
    return (n + OPS_PANEL - 1) / OPS_PANEL * OPS_PANEL;
}

void ref_pack(ops_matrix w, const float *src, int lds)
{
    for (int i = 0; i < padded(w.n); i++)
        for (int j = 0; j < w.k; j++)
            set_element(w, i, j, i < w.n ? src[(size_t)i * lds + j] : 0.0f);
}

void ref_unpack(float *dst, int ldd, ops_matrix w)
{
    for (int i = 0; i < w.n; i++)
        for (int j = 0; j < w.k; j++)
            dst[(size_t)i * ldd + j] = ref_element(w, i, j);
}

void ref_pack_transposed(ops_matrix t, ops_matrix w)
{
    for (int j = 0; j < padded(t.n); j++)
        for (int i = 0; i < w.n; i++)
            set_element(t, j, i, j < t.n ? ref_element(w, i, j) : 0.0f);
}

void ref_round(ops_matrix to, ops_matrix from)
{
    for (int i = 0; i < padded(to.n); i++)
        for (int j = 0; j < to.k; j++)
            set_element(to, i, j, *at(from, i, j));
}

float ref_operand_bf16(float x)
{
    return fabsf(x) < 0x1p-126f ? copysignf(0.0f, x) : ref_round_bf16(x);
}

static float dot_chain(const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, int n)
{
    float acc = 0.0f;
    for (int i = 0; i < n; i += 2) {
        float a1 = 0.0f, b1 = 0.0f;
        if (i + 1 < n) {
            a1 = ref_operand_bf16(a[(i + 1) * lda]);
            b1 = ref_operand_bf16(b[(i + 1) * ldb]);
        }
        acc = fmaf(a1, b1, acc);
        acc = fmaf(ref_operand_bf16(a[i * lda]), ref_operand_bf16(b[i * ldb]), acc);
    }
    return acc;
}

static float tile_chain(const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, int n)
{
    float acc = 0.0f;
    for (int i0 = 0; i0 < n; i0 += OPS_TILE_BLOCK) {
        float sum[2] = {0.0f, 0.0f};
        for (int i = i0; i < i0 + OPS_TILE_BLOCK; i++) {
            const float ai = i < n ? ref_operand_bf16(a[i * lda]) : 0.0f;
            const float bi = i < n ? ref_operand_bf16(b[i * ldb]) : 0.0f;
            sum[i % 2] = fmaf(ai, bi, sum[i % 2]);
        }
        acc = acc + (sum[0] + sum[1]);
    }
    return acc;
}

float ref_chain(ops_type type, const float *a, ptrdiff_t lda, const float *b, ptrdiff_t ldb, int n)
{
    if (type == OPS_BF16_DOT)
        return dot_chain(a, lda, b, ldb, n);
    if (type == OPS_BF16_TILE)
        return tile_chain(a, lda, b, ldb, n);
    float acc = 0.0f;
    for (int i = 0; i < n; i++)
        acc = fmaf(a[i * lda], b[i * ldb], acc);
    return acc;
}

static float product(ops_matrix w, const float *row, const float *x)
{
    const int chunk = w.type == OPS_BF16_TILE ? w.k : w.k >= 1536 ? 1024 : 512;
    float total = 0.0f;
    for (int j0 = 0; j0 < w.k; j0 += chunk) {
        float acc = ref_chain(w.type, x + j0, 1, row + j0, 1, w.k - j0 < chunk ? w.k - j0 : chunk);
        total = j0 == 0 ? acc : total + acc;
    }
    return total;
}

static void gemm_column(const ops_product *q, int i, const float *row, const float *x, int ldx, int m)
{
    for (int r = 0; r < m; r++) {
        float y = product(q->w, row, x + (size_t)r * ldx);
        if (q->bias)
            y = y + q->bias[i];
        if (q->residual)
            y = y + q->residual[(size_t)r * q->ldr + i];
        q->y[(size_t)r * q->ldy + i] = y;
    }
}

void ref_gemm(const ops_product *products, int count, const float *x, int ldx, int m)
{
    for (const ops_product *q = products; q < products + count; q++) {
        float *row = mem_calloc((size_t)q->w.k, sizeof *row);
        assert(row);
        for (int i = 0; i < q->w.n; i++) {
            for (int j = 0; j < q->w.k; j++)
                row[j] = ref_element(q->w, i, j);
            gemm_column(q, i, row, x, ldx, m);
        }
        mem_free(row);
    }
}

void ref_gemm_dw(ops_type operands, ops_matrix dw, const float *dy, int lddy, const float *x, int ldx, int m)
{
    for (int m0 = 0; m0 < m; m0 += 512)
        for (int i = 0; i < dw.n; i++)
            for (int j = 0; j < dw.k; j++) {
                float acc = ref_chain(operands, &x[(size_t)m0 * ldx + j], ldx, &dy[(size_t)m0 * lddy + i], lddy,
                                      m - m0 < 512 ? m - m0 : 512);
                *at(dw, i, j) = *at(dw, i, j) + acc;
            }
}

void ref_bias_grad(float *db, const float *dy, int lddy, int n, int m)
{
    for (int i = 0; i < n; i++) {
        float sum = 0.0f;
        for (int r = 0; r < m; r++)
            sum = sum + dy[(size_t)r * lddy + i];
        db[i] = db[i] + sum;
    }
}

void ref_embed(float *y, int ldy, ops_matrix w, const int32_t *token, int m, float scale)
{
    for (int r = 0; r < m; r++)
        for (int j = 0; j < w.k; j++)
            y[(size_t)r * ldy + j] = scale * ref_element(w, token[r], j);
}

void ref_embed_grad(ops_matrix dw, const float *dy, int lddy, const int32_t *token, int m, float scale)
{
    for (int r = 0; r < m; r++)
        for (int j = 0; j < dw.k; j++) {
            float g = scale * dy[(size_t)r * lddy + j];
            *at(dw, token[r], j) = *at(dw, token[r], j) + g;
        }
}
