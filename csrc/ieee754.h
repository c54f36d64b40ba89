/* ieee754.h: what keeps the bits of a result the same whoever calls: the floating-point environment, and the bits of a NaN.
 *
 * Each function of engine.h that computes enters the default environment (round to nearest, subnormal numbers kept, no traps) and
 * leaves with that of its caller, who may have another: torch.set_flush_denormal, -Ofast and fesetround set one. Between the two
 * calls it computes in a function marked NN_NOINLINE, because compilers move arithmetic across a change of the environment. */
#ifndef NN_IEEE754_H_
#define NN_IEEE754_H_

#include <math.h>

#if defined(__GNUC__)
#define NN_NOINLINE __attribute__((noinline))
#elif defined(_MSC_VER)
#define NN_NOINLINE __declspec(noinline)
#else
#define NN_NOINLINE
#endif

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#define NN_MXCSR_DEFAULT 0x1f80u
#define NN_MXCSR_FLAGS 0x3fu /* the exceptions so far, which change no result */
#endif

/* MXCSR is the whole environment of 64-bit x86, unless functions of the C library compute with the x87 unit. On 32-bit x86 they
 * may, and that of mingw-w64 has such a sqrtf, which GCC calls without optimisation. */
#if (defined(__x86_64__) || defined(_M_X64)) && (!defined(__MINGW32__) || defined(__OPTIMIZE__))

typedef unsigned int NNFloatEnvironment;

/* Sets the default environment. Returns that of the caller. */
static inline NNFloatEnvironment nn_enter_float_environment(void)
{
    NNFloatEnvironment caller = _mm_getcsr();
    if ((caller & ~NN_MXCSR_FLAGS) != NN_MXCSR_DEFAULT) {
        _mm_setcsr(NN_MXCSR_DEFAULT);
    }
    return caller;
}

static inline void nn_leave_float_environment(NNFloatEnvironment caller)
{
    if ((caller & ~NN_MXCSR_FLAGS) != NN_MXCSR_DEFAULT) {
        _mm_setcsr(caller);
    }
}

#elif defined(__aarch64__) && defined(__GNUC__)

typedef unsigned long NNFloatEnvironment; /* the register FPCR, whose default is 0 */

static inline void nn_set_fpcr(NNFloatEnvironment value)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(value) : "memory");
}

static inline NNFloatEnvironment nn_enter_float_environment(void)
{
    NNFloatEnvironment caller;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(caller) : : "memory");
    if (caller != 0) {
        nn_set_fpcr(0);
    }
    return caller;
}

static inline void nn_leave_float_environment(NNFloatEnvironment caller)
{
    if (caller != 0) {
        nn_set_fpcr(caller);
    }
}

#else

#include <fenv.h>

typedef struct {
    fenv_t fenv;
#ifdef NN_MXCSR_DEFAULT /* the fesetenv of mingw-w64 leaves MXCSR as it is */
    unsigned int mxcsr;
#endif
} NNFloatEnvironment;

static inline NNFloatEnvironment nn_enter_float_environment(void)
{
    NNFloatEnvironment caller;
#ifdef NN_MXCSR_DEFAULT
    caller.mxcsr = _mm_getcsr();
#endif
    fegetenv(&caller.fenv);
    fesetenv(FE_DFL_ENV);
#ifdef NN_MXCSR_DEFAULT
    _mm_setcsr(NN_MXCSR_DEFAULT);
#endif
    return caller;
}

static inline void nn_leave_float_environment(NNFloatEnvironment caller)
{
    fesetenv(&caller.fenv);
#ifdef NN_MXCSR_DEFAULT
    _mm_setcsr(caller.mxcsr);
#endif
}

#endif

/* Returns x; if it is NaN, the one that results contain. Processors differ in the sign of the NaN that they make. */
static inline double nn_canonical(double x)
{
    return isnan(x) ? (double)NAN : x;
}

#endif /* NN_IEEE754_H_ */
