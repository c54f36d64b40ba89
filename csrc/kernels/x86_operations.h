/* x86_operations.h: the operations of isa.h for x86-64, whose vector lengths have the same intrinsics under different prefixes.
 * Included by avx2.c, avx2_128.c and avx512.c, which define before
 *
 *     V, V_INT              the types of a vector of floats and of 32-bit integers
 *     MM(name)              the intrinsic `name` of this vector length, such as _mm256_##name
 *     MM_INT_AND            the intrinsic for the bitwise and of integer vectors, such as _mm256_and_si256
 *     MM_CAST_INT(x), MM_CAST_FLOAT(i)   reinterpret the bits
 *
 * and v_if_less after, because comparisons differ. */

NN_INLINE V v_load(const float *p) { return MM(loadu_ps)(p); }
NN_INLINE void v_store(float *p, V x) { MM(storeu_ps)(p, x); }
NN_INLINE V v_set(float x) { return MM(set1_ps)(x); }
NN_INLINE V v_add(V x, V y) { return MM(add_ps)(x, y); }
NN_INLINE V v_sub(V x, V y) { return MM(sub_ps)(x, y); }
NN_INLINE V v_mul(V x, V y) { return MM(mul_ps)(x, y); }
NN_INLINE V v_div(V x, V y) { return MM(div_ps)(x, y); }
NN_INLINE V v_sqrt(V x) { return MM(sqrt_ps)(x); }
NN_INLINE V v_fma(V x, V y, V z) { return MM(fmadd_ps)(x, y, z); }
NN_INLINE V v_max(V bound, V x) { return MM(max_ps)(bound, x); }
NN_INLINE V v_min(V bound, V x) { return MM(min_ps)(bound, x); }
NN_INLINE V v_neg(V x) { return MM(xor_ps)(x, v_set(-0.0f)); }
NN_INLINE V v_abs(V x) { return MM(andnot_ps)(v_set(-0.0f), x); }
NN_INLINE V v_copysign(V x, V y)
{
    V sign_bit = v_set(-0.0f);
    return MM(or_ps)(MM(andnot_ps)(sign_bit, x), MM(and_ps)(sign_bit, y));
}
NN_INLINE V v_scale(V x, V t) { return MM_CAST_FLOAT(MM(add_epi32)(MM_CAST_INT(x), MM(slli_epi32)(MM_CAST_INT(t), 23))); }
NN_INLINE V v_split(V x, V *e)
{
    V_INT sqrt_half = MM(set1_epi32)(0x3f3504f3), i = MM(sub_epi32)(MM_CAST_INT(x), sqrt_half); /* the bits of sqrt(1/2) */
    *e = MM(cvtepi32_ps)(MM(srai_epi32)(i, 23));
    return MM_CAST_FLOAT(MM(add_epi32)(MM_INT_AND(i, MM(set1_epi32)(0x007fffff)), sqrt_half));
}

/* Blocks of 8 x 8 floats, by their transposes. */
#define TRANSPOSED_BLOCK 8
NN_INLINE __m256 load_halves(const float *low, const float *high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
}

/* Loads four columns of 8 rows: column[j] lane k = from[k][j]. Each vector gets halves of two rows, so that the rest is done within
 * halves. */
NN_INLINE void load_columns(const float *from, size_t from_stride, __m256 *column)
{
    const float *high = from + 4 * from_stride;
    __m256 a = load_halves(from, high), b = load_halves(from + from_stride, high + from_stride);
    __m256 c = load_halves(from + 2 * from_stride, high + 2 * from_stride);
    __m256 d = load_halves(from + 3 * from_stride, high + 3 * from_stride);
    __m256 ab_low = _mm256_unpacklo_ps(a, b), ab_high = _mm256_unpackhi_ps(a, b);
    __m256 cd_low = _mm256_unpacklo_ps(c, d), cd_high = _mm256_unpackhi_ps(c, d);
    column[0] = _mm256_shuffle_ps(ab_low, cd_low, 0x44);
    column[1] = _mm256_shuffle_ps(ab_low, cd_low, 0xee);
    column[2] = _mm256_shuffle_ps(ab_high, cd_high, 0x44);
    column[3] = _mm256_shuffle_ps(ab_high, cd_high, 0xee);
}

/* The functions of kernels_impl.h for such blocks. */
NN_INLINE void transpose_block(const float *from, size_t from_stride, float *to, size_t to_stride)
{
    __m256 column[8];
    load_columns(from, from_stride, column);
    load_columns(from + 4, from_stride, column + 4);
    NN_UNROLL
    for (size_t j = 0; j < 8; j++) {
        _mm256_storeu_ps(to + j * to_stride, column[j]);
    }
}

NN_INLINE void multiply_block(const float *from, size_t from_stride, const float *x, float *sums)
{
    __m256 sum = _mm256_loadu_ps(sums), column[8];
    load_columns(from, from_stride, column);
    load_columns(from + 4, from_stride, column + 4);
    NN_UNROLL
    for (size_t j = 0; j < 8; j++) {
        sum = _mm256_fmadd_ps(_mm256_set1_ps(x[j]), column[j], sum);
    }
    _mm256_storeu_ps(sums, sum);
}
