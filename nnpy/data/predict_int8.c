/* predict_int8.c: the functions that an exported network of 8-bit integers needs. nnpy/_export_int8.py copies those that are used, and
 * replaces net_ and NET_ by the name of the network. They compute the same integers as csrc/quantized.c.
 *
 * A line that begins with "//@" stands before a function: its name, and the functions that it calls. An int may have 16 bits. */
//@ sums:
/* sums_j = bias_j + w_j x for `num` outputs, from 1 to NET_ROWS. w: (num, num_inputs), a row for each output. Where there are fewer
 * outputs, the last sum is computed more than once. */
#if defined(__ARM_FEATURE_SIMD32) && defined(__GNUC__)
#define NET_ROWS 4

/* Adds four products to a sum, two with each of a Cortex-M4's instructions for it. even: inputs 0 and 2, odd: inputs 1 and 3. */
static inline int32_t net_add_four(uint32_t even, uint32_t odd, const int8_t *w, int32_t sum)
{
    uint32_t four, even_w, odd_w;
    memcpy(&four, w, sizeof four);
    __asm__("sxtb16 %0, %1" : "=r"(even_w) : "r"(four));
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(odd_w) : "r"(four));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(even), "r"(even_w));
    __asm__("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(odd), "r"(odd_w));
    return sum;
}

static void net_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
{
    size_t last = num - 1, second = last < 1 ? last : 1, third = last < 2 ? last : 2;
    const int8_t *w1 = w + second * num_inputs, *w2 = w + third * num_inputs, *w3 = w + last * num_inputs;
    const uint8_t *end = x + num_inputs, *end_of_fours = end - num_inputs % 4;
    int32_t sum0 = bias[0], sum1 = bias[second], sum2 = bias[third], sum3 = bias[last];
    while (x < end_of_fours) {
        uint32_t four, even, odd;
        memcpy(&four, x, sizeof four);
        __asm__("uxtb16 %0, %1" : "=r"(even) : "r"(four));
        __asm__("uxtb16 %0, %1, ror #8" : "=r"(odd) : "r"(four));
        sum0 = net_add_four(even, odd, w, sum0);
        sum1 = net_add_four(even, odd, w1, sum1);
        sum2 = net_add_four(even, odd, w2, sum2);
        sum3 = net_add_four(even, odd, w3, sum3);
        x += 4;
        w += 4;
        w1 += 4;
        w2 += 4;
        w3 += 4;
    }
    for (; x < end; x++) {
        sum0 += (int32_t)*x * *w++;
        sum1 += (int32_t)*x * *w1++;
        sum2 += (int32_t)*x * *w2++;
        sum3 += (int32_t)*x * *w3++;
    }
    sums[0] = sum0;
    sums[second] = sum1;
    sums[third] = sum2;
    sums[last] = sum3;
}
#else
#define NET_ROWS 2 /* with more, the registers of small processors would not suffice */

#if defined(__GNUC__)
__attribute__((noinline)) /* it needs all registers */
#endif
static void net_sums(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, size_t num, int32_t *sums)
{
    const int8_t *w1 = w + (num - 1) * num_inputs;
    int32_t sum0 = bias[0], sum1 = bias[num - 1];
    size_t k = 0;
    do {
        sum0 += (int32_t)x[k] * w[k];
        sum1 += (int32_t)x[k] * w1[k];
    } while (++k < num_inputs);
    sums[0] = sum0;
    sums[num - 1] = sum1;
}
#endif

//@ rescale:
/* (sum multiplier + 2^(shift - 1)) >> shift: one rounding, of ties towards larger numbers. */
static int32_t net_rescale(int32_t sum, int32_t multiplier, int shift)
{
    uint64_t product;
    if (shift < 31) { /* the result has to fit into 32 bits */
        int32_t limit = (int32_t)(((uint32_t)1 << shift) - 1u);
        sum = sum > limit ? limit : sum < -limit ? -limit : sum;
    }
    product = (uint64_t)((int64_t)sum * multiplier) + ((uint64_t)1 << (shift - 1));
    product += (uint64_t)1 << 62; /* C does not define the right shift of negative numbers */
    return (int32_t)((int64_t)(product >> shift) - ((int64_t)1 << (62 - shift)));
}

//@ limit:
static int32_t net_limit(int32_t x, int32_t high)
{
    return x < 0 ? 0 : x > high ? high : x;
}

//@ interpolate:
/* 256 times the value at a position from 0 to 32767 in a table of 128 segments. */
static int32_t net_interpolate(const int16_t *table, int32_t position)
{
    const int16_t *segment = table + (position >> 8);
    int32_t part = position & 255;
    return segment[0] * (256 - part) + segment[1] * part;
}

//@ clip_layer: sums rescale limit
/* A hidden layer whose outputs are limited to 0 and 255. */
static void net_clip_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                           int shift, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[NET_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < NET_ROWS ? num_outputs - j : NET_ROWS;
        net_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            out[j + i] = (uint8_t)net_limit(net_rescale(sums[i], multipliers[j + i], shift), 255);
        }
    }
}

//@ table_layer: sums rescale limit interpolate
/* A hidden layer whose activation function is in a table. */
static void net_table_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                            int shift, const int16_t *table, uint8_t *out, size_t num_outputs)
{
    size_t j, i, num;
    int32_t sums[NET_ROWS];
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < NET_ROWS ? num_outputs - j : NET_ROWS;
        net_sums(x, num_inputs, w + j * num_inputs, bias + j, num, sums);
        for (i = 0; i < num; i++) {
            int32_t position = net_limit(net_rescale(sums[i], multipliers[j + i], shift), 32767);
            out[j + i] = (uint8_t)((net_interpolate(table, position) + 16384) >> 15);
        }
    }
}

//@ output_layer: sums rescale
/* The last layer, without its activation function. */
static void net_output_layer(const uint8_t *x, size_t num_inputs, const int8_t *w, const int32_t *bias, const int32_t *multipliers,
                             int shift, int32_t *out, size_t num_outputs)
{
    size_t j, i, num;
    for (j = 0; j < num_outputs; j += num) {
        num = num_outputs - j < NET_ROWS ? num_outputs - j : NET_ROWS;
        net_sums(x, num_inputs, w + j * num_inputs, bias + j, num, out + j);
        for (i = j; i < j + num; i++) {
            out[i] = net_rescale(out[i], multipliers[i], shift);
        }
    }
}

//@ output_table: limit interpolate
static void net_output_table(const int16_t *table, int32_t *z, size_t num)
{
    size_t j;
    for (j = 0; j < num; j++) {
        int32_t value = net_interpolate(table, net_limit(z[j], 32767)) + 128; /* divided by 256, and rounded down: */
        z[j] = (int32_t)(((uint32_t)value + ((uint32_t)1 << 31)) >> 8) - ((int32_t)1 << 23);
    }
}

//@ softmax: interpolate
/* A logit of 32768 stands for a factor of 2; the table has the powers of 1/2 between two of them. */
static void net_softmax(const int16_t *table, int32_t *z, size_t num)
{
    int32_t max = z[0];
    uint32_t sum = 0;
    size_t j;
    for (j = 1; j < num; j++) {
        max = z[j] > max ? z[j] : max;
    }
    for (j = 0; j < num; j++) {
        uint32_t below = (uint32_t)max - (uint32_t)z[j], halvings = below >> 15;
        int32_t power = (net_interpolate(table, (int32_t)(below & 32767u)) + 128) >> 8;
        z[j] = halvings < 15 ? power >> halvings : 0;
        sum += (uint32_t)z[j];
    }
    for (j = 0; j < num; j++) {
        uint32_t probability = (((uint32_t)z[j] << 15) + sum / 2) / sum;
        z[j] = (int32_t)(probability < 32767u ? probability : 32767u);
    }
}

//@ quantize:
/* (x - low) inverse_step, limited to 0 and 255, rounded to the nearest integer, ties to even. */
static uint8_t net_quantize_one(float x, float low, float inverse_step)
{
    volatile float t = (x - low) * inverse_step, shifted; /* volatile, so that no compiler fuses the product with the sum */
    uint32_t bits;
    float limited = t > 0.0f ? t : 0.0f;
    limited = limited < 255.0f ? limited : 255.0f;
    shifted = limited + 8388608.0f; /* 2^23: the last bit of the sum stands for 1 */
    limited = shifted;
    memcpy(&bits, &limited, sizeof bits);
    return (uint8_t)(bits & 255u);
}
