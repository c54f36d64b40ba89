/* kernels.c: finds out which tables of kernels this build has and this processor can run. */
#include "kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)
extern const NNKernels nn_kernels_avx512, nn_kernels_avx2;
#elif defined(__aarch64__) && defined(__ARM_NEON)
extern const NNKernels nn_kernels_neon;
#endif
extern const NNKernels nn_kernels_portable;

const NNKernels *nn_kernels_available(int isa)
{
    const NNKernels *tables[] = { /* best first; NULL if the processor cannot run it */
#if defined(__x86_64__) && defined(__GNUC__)
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl")
            ? &nn_kernels_avx512
            : NULL,
        __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &nn_kernels_avx2 : NULL,
#elif defined(__aarch64__) && defined(__ARM_NEON)
        &nn_kernels_neon,
#endif
        &nn_kernels_portable,
    };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        if (tables[i] != NULL && isa-- == 0) {
            return tables[i];
        }
    }
    return NULL;
}

const char *nn_isa_name(int isa)
{
    const NNKernels *kernels = nn_kernels_available(isa);
    return kernels == NULL ? NULL : kernels->name;
}

const char *nn_compiler(void)
{
#if defined(__clang__)
    return "Clang " __clang_version__;
#elif defined(__GNUC__)
    return "GCC " __VERSION__;
#elif defined(_MSC_VER)
    return "MSVC";
#else
    return "unknown";
#endif
}
