/* int8_avx512.c: the kernels of int8.h for x86-64 with AVX-512 (F, BW, VL) and VNNI. */
#include <string.h>

#include "int8.h"
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx2"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512vnni,avx2")
#endif

/* Sixteen inputs, at most 255, as integers of 32 bits. Negative numbers become 0 when they are packed. */
NN_INLINE __m512i quantized(const float *x, const float *low, const float *inverse_step, __mmask16 in_range, __m512 *check)
{
    __m512 difference = _mm512_sub_ps(_mm512_maskz_loadu_ps(in_range, x), _mm512_maskz_loadu_ps(in_range, low));
    __m512 t = _mm512_mul_ps(difference, _mm512_maskz_loadu_ps(in_range, inverse_step));
    *check = _mm512_fmadd_ps(t, _mm512_setzero_ps(), *check); /* stays 0 until t is not finite, then it is NaN */
    return _mm512_cvtps_epi32(_mm512_min_ps(t, _mm512_set1_ps(255.0f)));
}

static int quantize(const float *x, const float *low, const float *inverse_step, uint8_t *out, size_t n)
{
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15); /* packing works in quarters */
    const __mmask16 all = 0xffffu;
    __m512 check = _mm512_setzero_ps();
    size_t k = 0;
    for (; k + 64 <= n; k += 64) {
        __m512i a = quantized(x + k, low + k, inverse_step + k, all, &check);
        __m512i b = quantized(x + k + 16, low + k + 16, inverse_step + k + 16, all, &check);
        __m512i c = quantized(x + k + 32, low + k + 32, inverse_step + k + 32, all, &check);
        __m512i d = quantized(x + k + 48, low + k + 48, inverse_step + k + 48, all, &check);
        __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(a, b), _mm512_packus_epi32(c, d));
        _mm512_storeu_si512(out + k, _mm512_permutexvar_epi32(order, bytes));
    }
    for (; k < n; k += 16) {
        __mmask16 in_range = (__mmask16)(0xffffu >> (16 - nn_min(n - k, 16)));
        __m512i value = _mm512_max_epi32(quantized(x + k, low + k, inverse_step + k, in_range, &check), _mm512_setzero_si512());
        _mm512_mask_cvtepi32_storeu_epi8(out + k, in_range, value);
    }
    return _mm512_cmp_ps_mask(check, check, _CMP_EQ_OQ) == all;
}

/* A tile of `rows` samples and `groups` groups of outputs, whose sums stay in registers. w points to the first of the groups. */
NN_INLINE void tile(const uint8_t *x, size_t x_stride, int rows, size_t num_quads, const int8_t *w, const int32_t *bias, int groups,
                    int32_t *sums, size_t sums_stride, NNPrefetch *prefetch)
{
    size_t group_size = num_quads * NN_INT8_GROUP * 4, step = prefetch->step;
    uintptr_t address = prefetch->address;
    __m512i sum[6][4];
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        NN_UNROLL
        for (int g = 0; g < groups; g++) {
            sum[i][g] = _mm512_loadu_si512(bias + g * NN_INT8_GROUP);
        }
    }
    for (size_t q = 0; q < num_quads; q++, address += step) {
        __m512i b[4];
        _mm_prefetch((const char *)address, _MM_HINT_T1);
        NN_UNROLL
        for (int g = 0; g < groups; g++) {
            b[g] = _mm512_loadu_si512(w + (size_t)g * group_size + q * NN_INT8_GROUP * 4);
        }
        NN_UNROLL
        for (int i = 0; i < rows; i++) {
            int32_t quad;
            __m512i a;
            memcpy(&quad, x + (size_t)i * x_stride + 4 * q, sizeof quad);
            a = _mm512_set1_epi32(quad);
            NN_UNROLL
            for (int g = 0; g < groups; g++) {
                sum[i][g] = _mm512_dpbusd_epi32(sum[i][g], a, b[g]);
            }
        }
    }
    NN_UNROLL
    for (int i = 0; i < rows; i++) {
        NN_UNROLL
        for (int g = 0; g < groups; g++) {
            _mm512_storeu_si512(sums + (size_t)i * sums_stride + (size_t)g * NN_INT8_GROUP, sum[i][g]);
        }
    }
    prefetch->address = address;
}

#define TILE_ROWS 6
#define TILE_GROUPS 4
#include "int8_tiles.h"

/* Products of 64 bits of the even and of the odd elements. */
NN_INLINE __m512i rescaled(const int32_t *sums, const int32_t *multiplier, int shift)
{
    int32_t limit = nn_int8_limit(shift);
    __m512i half = _mm512_set1_epi64((long long)1 << (shift - 1)), m = _mm512_loadu_si512(multiplier), even, odd;
    __m512i s = _mm512_max_epi32(_mm512_min_epi32(_mm512_loadu_si512(sums), _mm512_set1_epi32(limit)), _mm512_set1_epi32(-limit));
    __m128i count = _mm_cvtsi32_si128(shift);
    even = _mm512_sra_epi64(_mm512_add_epi64(_mm512_mul_epi32(s, m), half), count);
    odd = _mm512_sra_epi64(
        _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(s, 32), _mm512_srli_epi64(m, 32)), half), count);
    return _mm512_mask_mov_epi32(even, (__mmask16)0xaaaau, _mm512_slli_epi64(odd, 32));
}

static void requantize(const int32_t *sums, const int32_t *multiplier, int shift, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        __m512i value = _mm512_max_epi32(rescaled(sums + j, multiplier + j, shift), _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)(void *)(out + j), _mm512_cvtusepi32_epi8(value)); /* limits to 255 */
    }
}

static void rescale(const int32_t *sums, const int32_t *multiplier, int shift, int32_t low, int32_t high, int32_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        __m512i value = rescaled(sums + j, multiplier + j, shift);
        value = _mm512_min_epi32(_mm512_max_epi32(value, _mm512_set1_epi32(low)), _mm512_set1_epi32(high));
        _mm512_storeu_si512(out + j, value);
    }
}

/* Reads two neighbours of the table at once, as 32 bits. */
static void interpolate(const int32_t *position, const int16_t *table, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        __m512i p = _mm512_loadu_si512(position + j), part = _mm512_and_si512(p, _mm512_set1_epi32(255));
        __m512i pair = _mm512_i32gather_epi32(_mm512_srli_epi32(p, 8), table, 2);
        __m512i factors = _mm512_or_si512(_mm512_sub_epi32(_mm512_set1_epi32(256), part), _mm512_slli_epi32(part, 16));
        __m512i value = _mm512_add_epi32(_mm512_madd_epi16(pair, factors), _mm512_set1_epi32(1 << 14));
        _mm_storeu_si128((__m128i *)(void *)(out + j), _mm512_cvtepi32_epi8(_mm512_srli_epi32(value, 15)));
    }
}

const NNInt8Kernels nn_int8_avx512vnni = {"avx512vnni", "avx512", quantize, multiply, requantize, rescale, interpolate, 0};

#ifdef __clang__
#pragma clang attribute pop
#endif

#else
typedef int nn_no_int8_avx512; /* a C file must not be empty */
#endif
