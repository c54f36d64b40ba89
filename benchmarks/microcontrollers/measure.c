/* measure.c: predicts for all test inputs on an emulated board, and prints what board.py reads:
 *
 *     loop T          ticks of 1,000,000 more iterations of a loop of two instructions: to check the clock
 *     memory N        what setup() returned: how much of its memory the code needs, if it knows
 *     stack N         bytes of the stack that the prediction for the first test input has used
 *     ticks T         ticks of the predictions for all test inputs, without those of an empty function in the place of predict
 *     HEX...          a line for each test input: the bytes of its outputs
 *
 * A tick is 40 instructions: QEMU's option -icount shift=0 lets an instruction take 1 ns, and the timer runs at 25 MHz. */
#include <stdint.h>
#include <stdio.h>

#define TIMER ((volatile uint32_t *)0x40000000u) /* CMSDK APB timer 0 of the boards mps2-*, which counts down */
#define STACK_WORDS 16384u
#define PAINT 0xA5C3F019u
#define IN_STRIDE ((IN_BYTES + 7u) & ~7u)
#define OUT_STRIDE ((OUT_BYTES + 7u) & ~7u)

typedef void function(const void *in, void *out);

unsigned setup(void);
void predict(const void *in, void *out);

extern const uint8_t inputs[NUM * IN_STRIDE]; /* inputs.s, which board.py writes */
static uint8_t outputs[NUM * OUT_STRIDE] __attribute__((aligned(8)));

static __attribute__((noinline)) void nothing(const void *in, void *out)
{
    __asm__ volatile("" : : "r"(in), "r"(out) : "memory");
}

static __attribute__((noinline)) uint32_t loop(uint32_t n)
{
    uint32_t start = TIMER[1];
    __asm__ volatile(".syntax unified\n1:\tsubs %0, %0, #1\n\tbne 1b" : "+l"(n) : : "cc");
    return start - TIMER[1];
}

static __attribute__((noinline)) uint32_t ticks(function *f)
{
    uint32_t start = TIMER[1], i;
    for (i = 0; i < NUM; i++) {
        f(inputs + i * IN_STRIDE, outputs + i * OUT_STRIDE);
    }
    return start - TIMER[1];
}

/* Paints the memory below the stack pointer, calls, and looks how far down it was written. */
static __attribute__((noinline)) uint32_t stack_used(function *f)
{
    volatile uint32_t *top, *p;
    __asm__ volatile("mov %0, sp" : "=r"(top));
    for (p = top - STACK_WORDS; p < top; p++) {
        *p = PAINT;
    }
    f(inputs, outputs);
    for (p = top - STACK_WORDS; p < top && *p == PAINT; p++) {
    }
    return (uint32_t)(top - p) * 4u;
}

int main(void)
{
    uint32_t i, j, used, time;
    TIMER[2] = 0xFFFFFFFFu; /* reload */
    TIMER[1] = 0xFFFFFFFFu;
    TIMER[0] = 1; /* enable */
#if defined(TRAP_UNALIGNED)
    *(volatile uint32_t *)0xE000ED14u |= 1u << 3; /* CCR: as on an ARMv6-M core, which has no unaligned accesses */
#endif
    used = loop(1000000);
    printf("loop %lu\n", (unsigned long)(loop(2000000) - used));
    printf("memory %u\n", setup());
    printf("stack %lu\n", (unsigned long)stack_used(predict));
    time = ticks(predict);
    printf("ticks %lu\n", (unsigned long)(time - ticks(nothing)));
    for (i = 0; i < NUM; i++) {
        for (j = 0; j < OUT_BYTES; j++) {
            printf("%02x", outputs[i * OUT_STRIDE + j]);
        }
        printf("\n");
    }
    return 0;
}
