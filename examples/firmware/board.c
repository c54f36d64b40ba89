/* board.c: start-up code of a Cortex-M, and text by semihosting: a breakpoint instruction that the debugger, here QEMU, takes as a
 * request. On a board of your own, board_print writes to a serial port, and the vendor's start-up code takes the place of reset().
 * No code of the C library runs before main. */
#include "board.h"

#include <stdint.h>

extern uint32_t data_load, data_begin, data_end, bss_begin, bss_end, stack_top; /* board.ld */
int main(void);
void reset(void);

#define PATTERN 0xa5a5a5a5u
#define FILL_MAX 8192u /* bytes */

/* Operations of semihosting (Arm, "Semihosting for AArch32 and AArch64", 2020). */
enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, ADP_STOPPED_APPLICATION_EXIT = 0x20026 };

static void semihost(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

void board_print(const char *text)
{
    semihost(SYS_WRITE0, text);
}

void board_print_number(unsigned long number)
{
    char text[24], *p = text + sizeof text - 1;
    *p = '\0';
    do {
        *--p = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    board_print(p);
}

void board_print_hex(unsigned long number)
{
    char text[9];
    for (int i = 0; i < 8; i++) {
        text[i] = "0123456789abcdef"[number >> (28 - 4 * i) & 15u];
    }
    text[8] = '\0';
    board_print(text);
}

void board_exit(int status)
{
    const uint32_t block[2] = {ADP_STOPPED_APPLICATION_EXIT, (uint32_t)status};
    for (;;) {
        semihost(SYS_EXIT_EXTENDED, block);
    }
}

/* The stack pointer, some bytes below which nothing is in use. */
static volatile uint32_t *free_stack(void)
{
    uintptr_t sp;
    __asm__ volatile("mov %0, sp" : "=r"(sp));
    return (volatile uint32_t *)(sp - 64);
}

static volatile uint32_t *filled_top, *filled_bottom;

void board_fill_stack(void)
{
    filled_top = free_stack();
    filled_bottom = filled_top - FILL_MAX / sizeof(uint32_t);
    if (filled_bottom < &bss_end) {
        filled_bottom = &bss_end;
    }
    for (volatile uint32_t *p = filled_bottom; p < filled_top; p++) {
        *p = PATTERN;
    }
}

size_t board_used_stack(void)
{
    volatile uint32_t *p = filled_bottom;
    while (p < filled_top && *p == PATTERN) {
        p++;
    }
    return (size_t)(filled_top - p) * sizeof(uint32_t) + 64;
}

void reset(void)
{
    const uint32_t *from = &data_load;
#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR: full access to coprocessors 10 and 11, the floating-point unit */
    __asm__ volatile("dsb\n\tisb");
#endif
    /* volatile, so that no loop becomes a call of a function that needs what is prepared here */
    for (volatile uint32_t *to = &data_begin; to < &data_end; to++) {
        *to = *from++;
    }
    for (volatile uint32_t *to = &bss_begin; to < &bss_end; to++) {
        *to = 0;
    }
    board_exit(main());
}

static void fault(void)
{
    board_print("fault\n");
    board_exit(3);
}

/* The stack pointer after a reset, the reset, and the exceptions that the processor itself raises. */
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))&stack_top, reset, fault, fault, fault, fault, fault,
};
