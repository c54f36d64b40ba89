/* portable.c: the kernels in plain C99, with "vectors" of 4 floats, for every processor and compiler. The fused
 * multiply-add is slow where there is no instruction for it; see fma.h. */
#define NN_UNROLL      /* empty: there are no vector registers for the tiles to stay in */
#define NN_MATH static /* not inlined: inlining gains nothing here and makes the compilation take a minute */
#include "isa.h"

#include <math.h>
#include <string.h>

#define KERNELS nn_kernels_portable
#define ISA_NAME "portable"
#define IS_SLOW 1
#define VL 4
#define TILE_VECTORS 4
typedef struct {
    float lane[VL];
} V;

/* The body of an operation: computes `expression` for each lane l and returns the vector. */
#define EACH_LANE(expression)        \
    V r;                             \
    for (int l = 0; l < VL; l++) {   \
        r.lane[l] = (expression);    \
    }                                \
    return r

NN_INLINE uint32_t bits(float x)
{
    uint32_t i;
    memcpy(&i, &x, sizeof i);
    return i;
}

NN_INLINE float from_bits(uint32_t i)
{
    float x;
    memcpy(&x, &i, sizeof x);
    return x;
}

NN_INLINE V v_load(const float *p) { EACH_LANE(p[l]); }
NN_INLINE void v_store(float *p, V x)
{
    for (int l = 0; l < VL; l++) {
        p[l] = x.lane[l];
    }
}
NN_INLINE V v_set(float x) { EACH_LANE(x); }
NN_INLINE V v_add(V x, V y) { EACH_LANE(x.lane[l] + y.lane[l]); }
NN_INLINE V v_sub(V x, V y) { EACH_LANE(x.lane[l] - y.lane[l]); }
NN_INLINE V v_mul(V x, V y) { EACH_LANE(x.lane[l] * y.lane[l]); }
NN_INLINE V v_div(V x, V y) { EACH_LANE(x.lane[l] / y.lane[l]); }
NN_INLINE V v_sqrt(V x) { EACH_LANE(sqrtf(x.lane[l])); }
NN_INLINE V v_fma(V x, V y, V z) { EACH_LANE(nn_fmaf(x.lane[l], y.lane[l], z.lane[l])); }
NN_INLINE V v_max(V bound, V x) { EACH_LANE(bound.lane[l] > x.lane[l] ? bound.lane[l] : x.lane[l]); }
NN_INLINE V v_min(V bound, V x) { EACH_LANE(bound.lane[l] < x.lane[l] ? bound.lane[l] : x.lane[l]); }
NN_INLINE V v_if_less(V x, V y, V a, V b) { EACH_LANE(x.lane[l] < y.lane[l] ? a.lane[l] : b.lane[l]); }
NN_INLINE V v_neg(V x) { EACH_LANE(-x.lane[l]); }
NN_INLINE V v_abs(V x) { EACH_LANE(fabsf(x.lane[l])); }
NN_INLINE V v_copysign(V x, V y) { EACH_LANE(copysignf(x.lane[l], y.lane[l])); }
NN_INLINE V v_scale(V x, V t) { EACH_LANE(from_bits(bits(x.lane[l]) + (bits(t.lane[l]) << 23))); }
NN_INLINE V v_split(V x, V *e)
{
    V m;
    for (int l = 0; l < VL; l++) {
        uint32_t i = bits(x.lane[l]) - 0x3f3504f3u; /* the bits of sqrt(1/2) */
        e->lane[l] = (float)(int)((i >> 23) ^ 0x100u) - 256.0f; /* an arithmetic shift right: the upper 9 bits, signed */
        m.lane[l] = from_bits((i & 0x007fffffu) + 0x3f3504f3u);
    }
    return m;
}

#include "kernels_impl.h"
