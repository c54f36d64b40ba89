/* team.c: see team.h. Uses POSIX threads and the atomics of GCC and Clang; elsewhere a team is the caller's thread alone. */
#define _POSIX_C_SOURCE 200809L

#include "team.h"

#include "engine.h"

/* Work in multiply-adds. Below these limits the barriers of a step, or starting the threads, cost more than the threads gain. */
#define MIN_WORK_PER_STEP ((size_t)1 << 20)
#define MIN_WORK_PER_CALL ((size_t)1 << 23)

int nn_worthwhile_threads(size_t work_per_sample, size_t samples_per_step, size_t num_samples, int max_threads)
{
    if (max_threads < 0) {
        return -max_threads;
    }
    if (samples_per_step < MIN_WORK_PER_STEP / work_per_sample || num_samples < MIN_WORK_PER_CALL / work_per_sample) {
        return 1;
    }
    return max_threads;
}

#if defined(__GNUC__) && !defined(_WIN32)

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#define MAX_STARTED_THREADS 256
#define SPINS_BEFORE_YIELD 300 /* a few microseconds: longer than a phase takes where threads pay off */

typedef struct {
    NNTeamFunction *function;
    void *context;
    NNTeam team;
    int num_started; /* threads that have taken their thread_index */
} TeamCall;

int nn_threads_available(void)
{
    return 1;
}

/* Waits a moment, in a loop that reads a variable of another thread: spins at first, later lets other threads run. */
static void spin_or_yield(int *num_spins)
{
    if (++*num_spins > SPINS_BEFORE_YIELD) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

void nn_team_barrier(NNTeam *team)
{
    unsigned int generation;
    int num_spins = 0;
    if (team->size == 1) {
        return;
    }
    generation = __atomic_load_n(&team->generation, __ATOMIC_RELAXED); /* cannot change before this thread has arrived */
    if (__atomic_add_fetch(&team->num_waiting, 1, __ATOMIC_ACQ_REL) == team->size) {
        __atomic_store_n(&team->num_waiting, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&team->generation, generation + 1, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&team->generation, __ATOMIC_ACQUIRE) == generation) {
        spin_or_yield(&num_spins);
    }
}

/* The start routine of a thread. It waits until the size of the team is known, that is, how many threads could be started. */
static void *run_thread(void *argument)
{
    TeamCall *call = (TeamCall *)argument;
    int thread_index = __atomic_add_fetch(&call->num_started, 1, __ATOMIC_RELAXED), num_spins = 0;
    while (__atomic_load_n(&call->team.size, __ATOMIC_ACQUIRE) == 0) {
        spin_or_yield(&num_spins);
    }
    call->function(call->context, &call->team, thread_index);
    return NULL;
}

void nn_team_run(int num_threads, NNTeamFunction *function, void *context)
{
    TeamCall call = {function, context, {0, 0, 0}, 0};
    pthread_t threads[MAX_STARTED_THREADS];
    sigset_t all_signals, previous_signals;
    int num_created = 0;

    if (num_threads > 1) { /* signals are delivered to the program's own threads only */
        sigfillset(&all_signals);
        pthread_sigmask(SIG_SETMASK, &all_signals, &previous_signals);
        while (num_created < num_threads - 1 && num_created < MAX_STARTED_THREADS &&
               pthread_create(&threads[num_created], NULL, run_thread, &call) == 0) {
            num_created++;
        }
        pthread_sigmask(SIG_SETMASK, &previous_signals, NULL);
    }
    __atomic_store_n(&call.team.size, num_created + 1, __ATOMIC_RELEASE);
    function(context, &call.team, 0);
    for (int i = 0; i < num_created; i++) {
        pthread_join(threads[i], NULL);
    }
}

#else

int nn_threads_available(void)
{
    return 0;
}

void nn_team_barrier(NNTeam *team)
{
    (void)team;
}

void nn_team_run(int num_threads, NNTeamFunction *function, void *context)
{
    NNTeam team = {1, 0, 0};
    (void)num_threads;
    function(context, &team, 0);
}

#endif
