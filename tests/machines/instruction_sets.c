/* instruction_sets.c: prints the names of the instruction sets that the engine has on this machine, best first. */
#include <stdio.h>

#include "engine.h"

int main(void)
{
    for (int isa = 0; nn_isa_name(isa) != NULL; isa++) {
        printf("%s ", nn_isa_name(isa));
    }
    printf("\n%s\n", nn_threads_available() ? "threads" : "one thread");
    return 0;
}
