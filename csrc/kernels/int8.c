/* int8.c: finds out which tables of kernels for 8-bit integers this build has and this processor can run. */
#include "int8.h"

#include <string.h>

#include "../team.h"
#include "kernels.h"

extern const NNInt8Kernels nn_int8_portable;

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>

extern const NNInt8Kernels nn_int8_avx512vnni, nn_int8_avxvnni, nn_int8_avx2;

#if NN_INT8_HAS_AVXVNNI
/* The instruction cpuid takes tens of microseconds in a virtual machine, so that its answer is kept: 1 for no, 2 for yes. */
static int has_avxvnni(void)
{
    static int known = 0;
    int answer = nn_flag_get(&known);
    if (answer == 0) {
        unsigned int eax, ebx, ecx, edx;
        int found = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1u);
        answer = found ? 2 : 1;
        nn_flag_set(&known, answer);
    }
    return answer == 2;
}
#endif

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
        has_avxvnni() ? &nn_int8_avxvnni : NULL,
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
