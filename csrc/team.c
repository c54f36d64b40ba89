/* team.c: see team.h. POSIX threads and the atomics of GCC and Clang; elsewhere a team is the caller alone. */
#define _POSIX_C_SOURCE 200809L

#include "team.h"

#if defined(__GNUC__) && !defined(_WIN32)

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MAX_SIZE 256
#define TRIES_BEFORE_YIELDING 300 /* some microseconds: longer than a phase lasts where threads pay */

const int nn_has_threads = 1;

typedef struct {
    void (*work)(void *context, NNTeam *team, int number);
    void *context;
    NNTeam team;
    int next_number;
} Job;

static void relax(int *tries)
{
    if (++*tries > TRIES_BEFORE_YIELDING) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

void nn_team_wait(NNTeam *team)
{
    unsigned int generation;
    int tries = 0;
    if (team->size == 1) {
        return;
    }
    generation = __atomic_load_n(&team->generation, __ATOMIC_RELAXED); /* cannot change before this thread has come */
    if (__atomic_add_fetch(&team->waiting, 1, __ATOMIC_ACQ_REL) == team->size) {
        __atomic_store_n(&team->waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) == generation) {
        relax(&tries);
    }
}

/* A thread begins when the size of the team is known: how many threads there were to be had. */
static void *begin(void *argument)
{
    Job *job = (Job *)argument;
    int number = __atomic_add_fetch(&job->next_number, 1, __ATOMIC_RELAXED), tries = 0;
    while (__atomic_load_n(&job->team.size, __ATOMIC_ACQUIRE) == 0) {
        relax(&tries);
    }
    job->work(job->context, &job->team, number);
    return NULL;
}

void nn_team_run(int size, void (*work)(void *context, NNTeam *team, int number), void *context)
{
    Job job = {work, context, {0, 0, 0}, 0};
    pthread_t threads[MAX_SIZE];
    sigset_t all, old;
    int num_threads = 0;

    if (size > 1) { /* signals are for the threads that the program knows */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (num_threads < size - 1 && num_threads < MAX_SIZE &&
               pthread_create(&threads[num_threads], NULL, begin, &job) == 0) {
            num_threads++;
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    __atomic_store_n(&job.team.size, num_threads + 1, __ATOMIC_RELEASE);
    work(context, &job.team, 0);
    for (int i = 0; i < num_threads; i++) {
        pthread_join(threads[i], NULL);
    }
}

#else

const int nn_has_threads = 0;

void nn_team_wait(NNTeam *team)
{
    (void)team;
}

void nn_team_run(int size, void (*work)(void *context, NNTeam *team, int number), void *context)
{
    NNTeam team = {1, 0, 0};
    (void)size;
    work(context, &team, 0);
}

#endif
