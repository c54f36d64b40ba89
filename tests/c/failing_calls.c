/* failing_calls.c: a library for LD_PRELOAD (glibc) with which allocations and threads fail, but only those that nnpy's extension asks
 * for. tests/test_out_of_memory.py calls its functions through ctypes. */
#define _GNU_SOURCE /* dladdr, RTLD_NEXT */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t num, size_t size);
void __libc_free(void *memory);

static long num_seen, num_failed, num_in_use, first_to_fail, is_for_threads, fails_once, is_counting;

/* The calls of the extension from number `first` on fail, counted from 1; with `once`, only that one. 0: none fails. They are calls
 * of malloc and calloc or, with `threads`, of pthread_create. */
void failing_calls_begin(long first, long once, long threads)
{
    num_seen = num_failed = 0;
    fails_once = once;
    is_for_threads = threads;
    first_to_fail = first;
    is_counting = 1;
}

/* No call fails any more. Returns the number of calls that have failed. */
long failing_calls_end(void)
{
    first_to_fail = 0;
    return num_failed;
}

/* The number of blocks that the extension has allocated and not freed since the first failing_calls_begin. */
long failing_calls_in_use(void)
{
    return num_in_use;
}

static int is_extension(void *return_address)
{
    Dl_info info;
    return is_counting && dladdr(return_address, &info) != 0 && info.dli_fname != NULL && strstr(info.dli_fname, "_libnn") != NULL;
}

static int fails(void)
{
    long number = __atomic_add_fetch(&num_seen, 1, __ATOMIC_SEQ_CST);
    if (first_to_fail == 0 || (fails_once ? number != first_to_fail : number < first_to_fail)) {
        return 0;
    }
    __atomic_add_fetch(&num_failed, 1, __ATOMIC_SEQ_CST);
    return 1;
}

/* Whether an allocation of the extension may go on. */
static int may_allocate(void *return_address)
{
    if (!is_extension(return_address)) {
        return 1;
    }
    if (!is_for_threads && fails()) {
        return 0;
    }
    __atomic_add_fetch(&num_in_use, 1, __ATOMIC_SEQ_CST);
    return 1;
}

void *malloc(size_t size)
{
    return may_allocate(__builtin_return_address(0)) ? __libc_malloc(size) : NULL;
}

void *calloc(size_t num, size_t size)
{
    return may_allocate(__builtin_return_address(0)) ? __libc_calloc(num, size) : NULL;
}

void free(void *memory)
{
    if (memory != NULL && is_extension(__builtin_return_address(0))) {
        __atomic_add_fetch(&num_in_use, -1, __ATOMIC_SEQ_CST);
    }
    __libc_free(memory);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
    union { /* a pointer to a function from one to an object */
        void *object;
        int (*function)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    } real;
    if (is_extension(__builtin_return_address(0)) && is_for_threads && fails()) {
        return EAGAIN;
    }
    real.object = dlsym(RTLD_NEXT, "pthread_create");
    return real.function(thread, attributes, start, argument);
}
