/* size.c: a program whose size is taken, and which is never run. Compiled with -DEMPTY it calls nothing; the difference of the two
 * is what a prediction adds to a program, with the functions of the compiler's and the C library that it needs. */
#include <stdint.h>

unsigned setup(void);
void predict(const void *in, void *out);

volatile uint64_t in[(IN_BYTES + 7) / 8], out[(OUT_BYTES + 7) / 8]; /* the caller's: in both programs */

void _start(void)
{
#if !defined(EMPTY)
    setup();
    predict((const void *)in, (void *)out);
#endif
    for (;;) {
        out[0] = in[0];
    }
}
