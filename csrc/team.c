/* team.c: see team.h. The upper part is what systems and compilers do differently: starting threads and atomics. It knows POSIX
 * threads with GCC or Clang, and Windows. Elsewhere, or with NN_NO_THREADS defined, a team is the caller's thread alone. */
#define _GNU_SOURCE /* for the processors of a thread, on Linux */
#define _POSIX_C_SOURCE 200809L

#include "team.h"

#include "engine.h"

#define MAX_STARTED_THREADS 256
#define SPINS_BEFORE_YIELD 300 /* a few microseconds: longer than a phase takes where threads pay off */

/* Work in multiply-adds. Below these limits the barriers of a step, or starting the threads, cost more than the threads gain. */
#define MIN_WORK_PER_STEP ((size_t)1 << 20)
#define MIN_WORK_PER_CALL ((size_t)1 << 23)

typedef struct {
    NNTeamFunction *function;
    void *context;
    int size;        /* of the team; 0 until it is known how many threads could be started */
    NNBarrier barrier;
    int num_started; /* threads that have taken their thread_index */
} TeamCall;

static void run_started_thread(TeamCall *call);

/* ---- The system ----
 *
 * start_threads starts up to `num` threads that call run_started_thread(call), and returns how many it could start. let_others_run
 * lets other threads run on this processor; pause_processor only tells it that this thread spins; sleep_a_moment sleeps for about
 * 0.1 ms, on Windows longer. */

/* unistd.h tells whether there are POSIX threads: not in newlib for a processor without a system. In WebAssembly it tells so always,
 * but only a build with atomics has them. */
#if defined(__GNUC__) && !defined(_WIN32) && !defined(NN_NO_THREADS) && (!defined(__wasm__) || defined(__wasm_atomics__))
#include <unistd.h>
#endif

#if defined(_WIN32) && !defined(NN_NO_THREADS)

#define WIN32_LEAN_AND_MEAN
#include <process.h>
#include <windows.h>

#define HAS_THREADS 1
#define let_others_run() SwitchToThread()
#define pause_processor() YieldProcessor()
#define sleep_a_moment() Sleep(1)
typedef HANDLE Thread;

static unsigned int __stdcall start_routine(void *call)
{
    run_started_thread((TeamCall *)call);
    return 0;
}

static int start_threads(Thread *threads, int num, TeamCall *call)
{
    int num_created = 0;
    while (num_created < num && (threads[num_created] = (HANDLE)_beginthreadex(NULL, 0, start_routine, call, 0, NULL)) != NULL) {
        num_created++;
    }
    return num_created;
}

static void join_thread(Thread thread)
{
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);
}

double nn_seconds(void)
{
    LARGE_INTEGER count, per_second;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&per_second);
    return (double)count.QuadPart / (double)per_second.QuadPart;
}

#elif defined(_POSIX_THREADS) && _POSIX_THREADS > 0 && !defined(NN_NO_THREADS)

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#define HAS_THREADS 1
#define let_others_run() sched_yield()
#if defined(__x86_64__) || defined(__i386__)
#define pause_processor() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define pause_processor() __asm__ __volatile__("yield")
#else
#define pause_processor() ((void)0)
#endif
typedef pthread_t Thread;

static void sleep_a_moment(void)
{
    const struct timespec moment = {0, 100000};
    nanosleep(&moment, NULL);
}

double nn_seconds(void)
{
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void *start_routine(void *call)
{
    run_started_thread((TeamCall *)call);
    return NULL;
}

#ifdef __GLIBC__
/* Moves threads that were just started to other processors than the caller's, where Linux starts many of them. It would leave them
 * there for some milliseconds, and threads that share a processor take turns at each barrier. The threads may run anywhere later. */
static void move_from_this_processor(const Thread *threads, int num)
{
    cpu_set_t allowed, others;
    int processor = sched_getcpu();
    if (processor < 0 || processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return;
    }
    others = allowed;
    CPU_CLR((size_t)processor, &others);
    for (int i = 0; i < num && CPU_COUNT(&others) > 0; i++) {
        pthread_setaffinity_np(threads[i], sizeof others, &others);
        pthread_setaffinity_np(threads[i], sizeof allowed, &allowed);
    }
}
#else
#define move_from_this_processor(threads, num) ((void)(threads), (void)(num))
#endif

static int start_threads(Thread *threads, int num, TeamCall *call)
{
    sigset_t all_signals, previous_signals;
    int num_created = 0;
    sigfillset(&all_signals); /* signals are delivered to the program's own threads only */
    pthread_sigmask(SIG_SETMASK, &all_signals, &previous_signals);
    while (num_created < num && pthread_create(&threads[num_created], NULL, start_routine, call) == 0) {
        num_created++;
    }
    pthread_sigmask(SIG_SETMASK, &previous_signals, NULL);
    move_from_this_processor(threads, num_created);
    return num_created;
}

static void join_thread(Thread thread)
{
    pthread_join(thread, NULL);
}

#else

#define HAS_THREADS 0
#define let_others_run() ((void)0)
#define pause_processor() ((void)0)
#define sleep_a_moment() ((void)0)
typedef int Thread;

double nn_seconds(void)
{
    return 0;
}

static int start_threads(Thread *threads, int num, TeamCall *call)
{
    (void)threads;
    (void)num;
    (void)call;
    return 0;
}

static void join_thread(Thread thread)
{
    (void)thread;
}

#endif

/* ---- Atomics: a load acquires, a store releases, atomic_increment does both and returns the new value ---- */

#if defined(__GNUC__) && !defined(NN_INTERLOCKED)
#define atomic_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define atomic_store(p, value) __atomic_store_n(p, value, __ATOMIC_RELEASE)
#define atomic_increment(p) __atomic_add_fetch(p, 1, __ATOMIC_ACQ_REL)
#elif HAS_THREADS /* Windows, where a LONG has the size of an int. NN_INTERLOCKED lets GCC test what MSVC takes. */
#define atomic_load(p) ((int)InterlockedCompareExchange((LONG volatile *)(p), 0, 0))
#define atomic_store(p, value) ((void)InterlockedExchange((LONG volatile *)(p), value))
#define atomic_increment(p) ((int)InterlockedIncrement((LONG volatile *)(p)))
#else
#define atomic_load(p) (*(p))
#define atomic_store(p, value) ((void)(*(p) = (value)))
#define atomic_increment(p) (++*(p))
#endif

/* ---- The team ---- */

int nn_threads_available(void)
{
    return HAS_THREADS;
}

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

/* Waits a moment, in a loop that reads a variable of another thread: spins at first, later lets other threads run. */
static void spin_or_yield(int *num_spins)
{
    if (++*num_spins > SPINS_BEFORE_YIELD) {
        let_others_run();
        return;
    }
    pause_processor();
}

void nn_team_barrier(NNTeam *team)
{
    int phase, num_spins = 0;
    if (team->size == 1) {
        return;
    }
    phase = atomic_load(&team->barrier->phase); /* cannot change before this thread has arrived */
    if (atomic_increment(&team->barrier->num_waiting) == team->size) {
        atomic_store(&team->barrier->num_waiting, 0);
        atomic_store(&team->barrier->phase, !phase);
        return;
    }
    while (atomic_load(&team->barrier->phase) == phase) {
        spin_or_yield(&num_spins);
    }
}

void nn_wait_to_be_called(const int *generation, int seen)
{
    while (atomic_load(generation) == seen) {
        sleep_a_moment();
    }
}

void nn_call_back(int *generation)
{
    atomic_increment(generation);
}

/* Waits until the size of the team is known, that is, how many threads could be started. */
static void run_started_thread(TeamCall *call)
{
    int thread_index = atomic_increment(&call->num_started), num_spins = 0;
    NNTeam team = {0, &call->barrier};
    while ((team.size = atomic_load(&call->size)) == 0) {
        spin_or_yield(&num_spins);
    }
    call->function(call->context, &team, thread_index);
}

void nn_team_run(int num_threads, NNTeamFunction *function, void *context)
{
    TeamCall call = {function, context, 0, {0, 0}, 0};
    NNTeam team = {1, &call.barrier};
    Thread threads[MAX_STARTED_THREADS];
    int num_wanted = num_threads - 1 < MAX_STARTED_THREADS ? num_threads - 1 : MAX_STARTED_THREADS;
    int num_created = num_wanted > 0 ? start_threads(threads, num_wanted, &call) : 0;

    team.size = num_created + 1;
    atomic_store(&call.size, team.size);
    function(context, &team, 0);
    for (int i = 0; i < num_created; i++) {
        join_thread(threads[i]);
    }
}
