/* kernels.c: which kernels this build has and this processor can run. */
#include "kernels.h"

#include "engine.h"
#include "team.h"

#if defined(__x86_64__) && defined(__GNUC__)
extern const NNKernels nn_kernels_avx512, nn_kernels_avx2;
#elif defined(__aarch64__) && defined(__ARM_NEON)
extern const NNKernels nn_kernels_neon;
#endif
extern const NNKernels nn_kernels_portable;

const NNKernels *nn_kernels_available(int index)
{
    const NNKernels *available[4] = {NULL, NULL, NULL, NULL};
    int num = 0;
#if defined(__x86_64__) && defined(__GNUC__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
        available[num++] = &nn_kernels_avx512;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        available[num++] = &nn_kernels_avx2;
    }
#elif defined(__aarch64__) && defined(__ARM_NEON)
    available[num++] = &nn_kernels_neon;
#endif
    available[num++] = &nn_kernels_portable;
    return index >= 0 && index < num ? available[index] : NULL;
}

const char *nn_isa_name(int isa)
{
    const NNKernels *kernels = nn_kernels_available(isa);
    return kernels == NULL ? NULL : kernels->name;
}

int nn_threads_available(void)
{
    return nn_has_threads;
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
