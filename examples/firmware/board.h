/* board.h: what the programs need of the board: text, the stack that a function used, and an end. */
#ifndef BOARD_H_
#define BOARD_H_

#include <stddef.h>

void board_print(const char *text);
void board_print_number(unsigned long number);
void board_print_hex(unsigned long number); /* 8 digits */

/* The stack in bytes that a function needs, with those that it calls: fill the free stack with a pattern, call the function, and see
 * how much of the pattern is left. Interrupts that come meanwhile use the same stack. */
void board_fill_stack(void);
size_t board_used_stack(void);

void board_exit(int status); /* ends the emulator; does not return */

#endif /* BOARD_H_ */
