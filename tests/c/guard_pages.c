/* guard_pages.c: random calls of the engine (random_call.h) with every array between two pages that nobody may read or write. In one
 * pass the arrays end where a page begins that is not accessible, in the other pass they begin where one ends: a kernel that touches
 * a byte outside crashes, with the instructions that users run, which no sanitizer has changed.
 *
 *     guard_pages [NUMBER [SEED]]   makes NUMBER random calls in each pass (default 300); returns 1 if a result is wrong
 *     guard_pages outside           reads the byte after an array, to show that this crashes */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "random_call.h"

static int is_at_end; /* whether arrays end, or begin, at the page that is not accessible */
static uint64_t current_seed;

/* The mappings of the arrays that are in use. */
static struct {
    void *array, *mapping;
    size_t size;
} used[MAX_ARRAYS];

static void *new_array(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (size + page - 1) / page * page, i = 0;
    char *mapping = (char *)mmap(NULL, inside + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (i < MAX_ARRAYS && used[i].array != NULL) {
        i++;
    }
    if (mapping == (char *)MAP_FAILED || i == MAX_ARRAYS ||
        (inside > 0 && mprotect(mapping + page, inside, PROT_READ | PROT_WRITE) != 0)) {
        abort();
    }
    memset(mapping + page, 0x55, inside);
    used[i].array = mapping + page + (is_at_end ? inside - size : 0);
    used[i].mapping = mapping;
    used[i].size = inside + 2 * page;
    return used[i].array;
}

static void free_array(void *array)
{
    for (size_t i = 0; i < MAX_ARRAYS; i++) {
        if (used[i].array == array) {
            munmap(used[i].mapping, used[i].size);
            used[i].array = NULL;
            return;
        }
    }
    abort();
}

/* Says which call crashed; only write and _exit are safe in a signal handler. */
static void report_crash(int signal_number)
{
    char text[] = "an access outside of an array: guard_pages 1 ....................\n", *digit = text + sizeof text - 3;
    (void)signal_number;
    for (uint64_t seed = current_seed; *digit == '.'; digit--) {
        *digit = (char)('0' + seed % 10);
        seed /= 10;
    }
    if (write(1, text, sizeof text - 1) < 0) {
        _exit(3);
    }
    _exit(2);
}

int main(int argc, char **argv)
{
    long number = argc > 1 ? strtol(argv[1], NULL, 10) : 300;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    signal(SIGSEGV, report_crash);
    signal(SIGBUS, report_crash);
    if (argc > 1 && strcmp(argv[1], "outside") == 0) {
        is_at_end = 1;
        return *(volatile char *)((char *)new_array(12) + 12);
    }
    for (is_at_end = 0; is_at_end <= 1; is_at_end++) {
        for (long i = 0; i < number && num_wrong < 10; i++) {
            unsigned char bytes[256];
            Source source = {bytes, sizeof bytes, 0};
            current_seed = seed + (uint64_t)i;
            for (size_t k = 0; k < sizeof bytes; k++) {
                bytes[k] = (unsigned char)nn_random(current_seed, k);
            }
            if (!check_random_call(&source)) {
                printf("guard_pages 1 %llu repeats this\n", (unsigned long long)current_seed);
            }
        }
    }
    for (size_t i = 0; i < MAX_ARRAYS; i++) {
        EXPECT(used[i].array == NULL, "an array was not freed");
    }
    printf("%ld calls in 2 passes: %ld ok, %ld not finite, %ld diverged, %ld refused; %ld comparisons with nn.h\n", num_calls, num_codes[NN_OK],
           num_codes[NN_NOT_FINITE], num_codes[NN_DIVERGED], num_codes[NN_REFUSED], num_compared);
    return num_wrong > 0;
}
