/* int8_avx2_impl.h: what int8_avx2.c and int8_avxvnni.c share: everything but the products. */
NN_INLINE __m256i load_256(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }

/* Eight inputs, as integers of 32 bits. */
NN_INLINE __m256i quantized(const float *x, const float *low, const float *inverse_step, __m256 *check)
{
    __m256 t = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x), _mm256_loadu_ps(low)), _mm256_loadu_ps(inverse_step));
    *check = _mm256_fmadd_ps(t, _mm256_setzero_ps(), *check); /* stays 0 until t is not finite, then it is NaN */
    return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(t, _mm256_setzero_ps()), _mm256_set1_ps(255.0f)));
}

/* Stores two vectors of eight integers from 0 to 255 as bytes. */
NN_INLINE void store_bytes(uint8_t *out, __m256i first, __m256i second)
{
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(first, second), 0xd8); /* packing works in halves */
    _mm_storeu_si128((__m128i *)(void *)out,
                     _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}

static int quantize(const float *x, const float *low, const float *inverse_step, uint8_t *out, size_t n)
{
    __m256 check = _mm256_setzero_ps();
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        store_bytes(out + k, quantized(x + k, low + k, inverse_step + k, &check),
                    quantized(x + k + 8, low + k + 8, inverse_step + k + 8, &check));
    }
    if (k < n) {
        float rest[3][16] = {{0}};
        uint8_t bytes[16];
        memcpy(rest[0], x + k, (n - k) * sizeof(float));
        memcpy(rest[1], low + k, (n - k) * sizeof(float));
        memcpy(rest[2], inverse_step + k, (n - k) * sizeof(float));
        store_bytes(bytes, quantized(rest[0], rest[1], rest[2], &check), quantized(rest[0] + 8, rest[1] + 8, rest[2] + 8, &check));
        memcpy(out + k, bytes, n - k);
    }
    return _mm256_movemask_ps(_mm256_cmp_ps(check, check, _CMP_EQ_OQ)) == 0xff;
}

/* (value + half) >> shift for four integers of 64 bits. There is no arithmetic right shift: 2^62 makes the number positive. */
NN_INLINE __m256i shifted(__m256i value, int shift)
{
    __m256i offset = _mm256_set1_epi64x(((long long)1 << 62) + ((long long)1 << (shift - 1)));
    __m256i result = _mm256_srl_epi64(_mm256_add_epi64(value, offset), _mm_cvtsi32_si128(shift));
    return _mm256_sub_epi64(result, _mm256_set1_epi64x((long long)1 << (62 - shift)));
}

NN_INLINE __m256i rescaled(const int32_t *sums, const int32_t *multiplier, int shift)
{
    int32_t limit = nn_int8_limit(shift);
    __m256i m = load_256(multiplier), even, odd;
    __m256i s = _mm256_max_epi32(_mm256_min_epi32(load_256(sums), _mm256_set1_epi32(limit)), _mm256_set1_epi32(-limit));
    even = shifted(_mm256_mul_epi32(s, m), shift);
    odd = shifted(_mm256_mul_epi32(_mm256_srli_epi64(s, 32), _mm256_srli_epi64(m, 32)), shift);
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

static void requantize(const int32_t *sums, const int32_t *multiplier, int shift, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        __m256i zero = _mm256_setzero_si256(), most = _mm256_set1_epi32(255);
        __m256i first = rescaled(sums + j, multiplier + j, shift), second = rescaled(sums + j + 8, multiplier + j + 8, shift);
        store_bytes(out + j, _mm256_min_epi32(_mm256_max_epi32(first, zero), most),
                    _mm256_min_epi32(_mm256_max_epi32(second, zero), most));
    }
}

static void rescale(const int32_t *sums, const int32_t *multiplier, int shift, int32_t low, int32_t high, int32_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 8) {
        __m256i value = rescaled(sums + j, multiplier + j, shift);
        value = _mm256_min_epi32(_mm256_max_epi32(value, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
        _mm256_storeu_si256((__m256i *)(void *)(out + j), value);
    }
}

/* Reads two neighbours of the table at once, as 32 bits. */
NN_INLINE __m256i interpolated(const int32_t *position, const int16_t *table)
{
    __m256i p = load_256(position), part = _mm256_and_si256(p, _mm256_set1_epi32(255));
    __m256i pair = _mm256_i32gather_epi32((const int *)(const void *)table, _mm256_srli_epi32(p, 8), 2);
    __m256i factors = _mm256_or_si256(_mm256_sub_epi32(_mm256_set1_epi32(256), part), _mm256_slli_epi32(part, 16));
    return _mm256_srli_epi32(_mm256_add_epi32(_mm256_madd_epi16(pair, factors), _mm256_set1_epi32(1 << 14)), 15);
}

static void interpolate(const int32_t *position, const int16_t *table, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        store_bytes(out + j, interpolated(position + j, table), interpolated(position + j + 8, table));
    }
}
