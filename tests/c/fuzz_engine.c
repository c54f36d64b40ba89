/* fuzz_engine.c: random calls of the engine (random_call.h), chosen by libFuzzer, which looks for bytes that reach new code:
 *
 *     make fuzz SECONDS=30   (needs clang)
 *
 * Without LIBFUZZER and with any compiler, it is a program that chooses the bytes at random:
 *
 *     fuzz_engine [NUMBER [SEED]]   makes NUMBER random calls (default 2000) and prints the seed; returns 1 if one fails
 *     fuzz_engine file FILE...      makes the calls that these files describe, such as those that libFuzzer leaves
 *
 * Each array is an allocation of its own, so that AddressSanitizer sees every access beside it. */
#define _POSIX_C_SOURCE 200809L

#include <time.h>

#include "random_call.h"

static void *new_array(size_t size)
{
    void *array = malloc(size > 0 ? size : 1);
    if (array == NULL) {
        abort();
    }
    memset(array, 0x55, size);
    return array;
}

static void free_array(void *array)
{
    free(array);
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    Source source = {bytes, size, 0};
    if (!check_random_call(&source)) {
        abort();
    }
    return 0;
}

#ifndef LIBFUZZER

static int run_file(const char *name)
{
    unsigned char bytes[4096];
    Source source = {bytes, 0, 0};
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        printf("cannot read %s\n", name);
        return 0;
    }
    source.size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return check_random_call(&source);
}

int main(int argc, char **argv)
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 2000;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000003u;
    if (argc > 1 && strcmp(argv[1], "file") == 0) {
        for (int i = 2; i < argc; i++) {
            run_file(argv[i]);
        }
        return num_wrong > 0;
    }
    printf("seed %llu\n", (unsigned long long)seed);
    for (long i = 0; i < number && num_wrong < 10; i++) {
        unsigned char bytes[256];
        Source source = {bytes, sizeof bytes, 0};
        for (size_t k = 0; k < sizeof bytes; k++) {
            bytes[k] = (unsigned char)nn_random(seed + (uint64_t)i, k);
        }
        if (!check_random_call(&source)) {
            printf("fuzz_engine 1 %llu repeats this\n", (unsigned long long)(seed + (uint64_t)i));
        }
    }
    printf("%ld calls: %ld ok, %ld stopped, %ld not finite, %ld diverged, %ld refused; %ld comparisons with nn.h\n", num_calls, num_codes[NN_OK],
           num_codes[NN_STOPPED], num_codes[NN_NOT_FINITE], num_codes[NN_DIVERGED], num_codes[NN_REFUSED], num_compared);
    return num_wrong > 0;
}

#endif
