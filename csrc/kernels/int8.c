/* int8.c: finds out which tables of kernels for 8-bit integers this build has and this processor can run. */
#include "int8.h"

#include <string.h>

#include "kernels.h"

extern const NNInt8Kernels nn_int8_portable;

#if defined(__x86_64__) && defined(__GNUC__)

extern const NNInt8Kernels nn_int8_avx512vnni, nn_int8_avxvnni, nn_int8_avx2;

#elif NN_INT8_HAS_NEON

extern const NNInt8Kernels nn_int8_neon;

#if NN_INT8_HAS_NEON_DOT
extern const NNInt8Kernels nn_int8_neondot;

#ifdef __linux__
#include <sys/auxv.h>
#endif

static int has_dot(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
    return 1; /* every Mac with AArch64 has it */
#else
    return 0;
#endif
}
#endif

#endif

const NNInt8Kernels *nn_int8_kernels_available(int i)
{
    const NNInt8Kernels *tables[] = { /* best first; NULL if the processor cannot run it */
#if defined(__x86_64__) && defined(__GNUC__)
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("avx512vnni")
            ? &nn_int8_avx512vnni
            : NULL,
#if NN_INT8_HAS_AVXVNNI
        __builtin_cpu_supports("avxvnni") && __builtin_cpu_supports("fma") ? &nn_int8_avxvnni : NULL,
#endif
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &nn_int8_avx2 : NULL,
#elif NN_INT8_HAS_NEON
#if NN_INT8_HAS_NEON_DOT
        has_dot() ? &nn_int8_neondot : NULL,
#endif
        &nn_int8_neon,
#endif
        &nn_int8_portable,
    };
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        if (tables[t] != NULL && i-- == 0) {
            return tables[t];
        }
    }
    return NULL;
}

/* Takes the first table that goes with this instruction set or with a lesser one. */
const NNInt8Kernels *nn_int8_kernels(int isa)
{
    for (; nn_isa_name(isa) != NULL; isa++) {
        const NNInt8Kernels *table;
        for (int i = 0; (table = nn_int8_kernels_available(i)) != NULL; i++) {
            if (strcmp(table->isa, nn_isa_name(isa)) == 0) {
                return table;
            }
        }
    }
    return &nn_int8_portable;
}
