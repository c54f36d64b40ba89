/* cortex_m.c: what a Cortex-M needs before main: the first two entries of the vector table, and the floating-point unit switched
 * on. The rest is newlib's; its input and output go through the debugger's interface (semihosting) to QEMU. */
#include <stdint.h>

extern char stack_top; /* cortex_m.ld */
void _start(void);     /* newlib */

static void reset(void)
{
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to coprocessors 10 and 11 */
    __asm__ __volatile__("dsb\n\tisb");
#endif
    _start();
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {&stack_top, (void *)reset};
