/* int8_neon_impl.h: what int8_neon.c and int8_neondot.c share: everything but the products, whose instructions take signed integers
 * only. So both subtract 128 from the activations, and the bias that they get makes up for it; see `shift_inputs` in int8.h. */

/* Four inputs, as integers of 32 bits. */
NN_INLINE uint32x4_t quantized(const float *x, const float *low, const float *inverse_step, float32x4_t *check)
{
    float32x4_t t = vmulq_f32(vsubq_f32(vld1q_f32(x), vld1q_f32(low)), vld1q_f32(inverse_step));
    *check = vfmaq_f32(*check, t, vdupq_n_f32(0.0f)); /* stays 0 until t is not finite, then it is NaN */
    return vcvtnq_u32_f32(vminq_f32(vmaxq_f32(t, vdupq_n_f32(0.0f)), vdupq_n_f32(255.0f)));
}

/* Stores sixteen integers from 0 to 255 as bytes. */
NN_INLINE void store_bytes(uint8_t *out, const uint32x4_t x[4])
{
    uint16x8_t low = vcombine_u16(vmovn_u32(x[0]), vmovn_u32(x[1])), high = vcombine_u16(vmovn_u32(x[2]), vmovn_u32(x[3]));
    vst1q_u8(out, vcombine_u8(vmovn_u16(low), vmovn_u16(high)));
}

static int quantize(const float *x, const float *low, const float *inverse_step, uint8_t *out, size_t n)
{
    float rest[3][16] = {{0}};
    uint8_t bytes[16];
    uint32x4_t parts[4];
    float32x4_t check = vdupq_n_f32(0.0f);
    size_t k = 0;
    for (; k + 16 <= n; k += 16) {
        for (size_t i = 0; i < 4; i++) {
            parts[i] = quantized(x + k + 4 * i, low + k + 4 * i, inverse_step + k + 4 * i, &check);
        }
        store_bytes(out + k, parts);
    }
    if (k < n) {
        memcpy(rest[0], x + k, (n - k) * sizeof(float));
        memcpy(rest[1], low + k, (n - k) * sizeof(float));
        memcpy(rest[2], inverse_step + k, (n - k) * sizeof(float));
        for (size_t i = 0; i < 4; i++) {
            parts[i] = quantized(rest[0] + 4 * i, rest[1] + 4 * i, rest[2] + 4 * i, &check);
        }
        store_bytes(bytes, parts);
        memcpy(out + k, bytes, n - k);
    }
    return vminvq_u32(vceqq_f32(check, check)) != 0;
}

NN_INLINE int32x4_t rescaled(const int32_t *sums, const int32_t *multiplier, int shift)
{
    int32_t limit = nn_int8_limit(shift);
    int64x2_t left = vdupq_n_s64(-shift); /* a rounding shift to the left by a negative number */
    int32x4_t m = vld1q_s32(multiplier);
    int32x4_t s = vmaxq_s32(vminq_s32(vld1q_s32(sums), vdupq_n_s32(limit)), vdupq_n_s32(-limit));
    return vcombine_s32(vmovn_s64(vrshlq_s64(vmull_s32(vget_low_s32(s), vget_low_s32(m)), left)),
                        vmovn_s64(vrshlq_s64(vmull_s32(vget_high_s32(s), vget_high_s32(m)), left)));
}

static void requantize(const int32_t *sums, const int32_t *multiplier, int shift, uint8_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 16) {
        uint32x4_t parts[4];
        for (size_t i = 0; i < 4; i++) {
            int32x4_t value = rescaled(sums + j + 4 * i, multiplier + j + 4 * i, shift);
            parts[i] = vreinterpretq_u32_s32(vminq_s32(vmaxq_s32(value, vdupq_n_s32(0)), vdupq_n_s32(255)));
        }
        store_bytes(out + j, parts);
    }
}

static void rescale(const int32_t *sums, const int32_t *multiplier, int shift, int32_t low, int32_t high, int32_t *out, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        int32x4_t value = rescaled(sums + j, multiplier + j, shift);
        vst1q_s32(out + j, vminq_s32(vmaxq_s32(value, vdupq_n_s32(low)), vdupq_n_s32(high)));
    }
}
