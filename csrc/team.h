/* team.h: a team of threads that work on one call of the engine together: how to start it, its barrier, how the threads share work,
 * and how many are worth starting. Knows nothing of networks. */
#ifndef NN_TEAM_H_
#define NN_TEAM_H_

#include <stddef.h>

typedef struct {
    int num_waiting; /* the number of threads that wait */
    int phase;       /* 0 or 1; the other one whenever the barrier opens */
} NNBarrier;

/* Each thread has an NNTeam of its own. The threads that take part in something are 0 to size - 1; if all of them agree, they may
 * change the size (elastic_team.h). */
typedef struct {
    int size;
    NNBarrier *barrier;
} NNTeam;

/* The function that every thread of a team runs. thread_index is 0 for the caller's thread, up to team->size - 1. */
typedef void NNTeamFunction(void *context, NNTeam *team, int thread_index);

/* Runs function(context, team, thread_index) on num_threads threads, or on as many as the system grants, and returns when all have
 * returned. Each call starts and joins its own threads (about 50 us). A pool would save that, but would not survive fork, would
 * use the processor while idle, and would have to be shared by the caller's threads. */
void nn_team_run(int num_threads, NNTeamFunction *function, void *context);

/* The barrier: returns when every thread of the team has called it. Writes before it are visible to all threads after it. */
void nn_team_barrier(NNTeam *team);

/* The time in seconds from some moment on; 0 where there are no threads. */
double nn_seconds(void);

/* Waits until *generation is not `seen`, without using the processor. Another thread calls nn_call_back; what it wrote before is
 * then visible. */
void nn_wait_to_be_called(const int *generation, int seen);
void nn_call_back(int *generation);

/* Returns the number of threads to use for a call on num_samples samples with a barrier after each samples_per_step of them:
 * max_threads, or 1 if the work is too small for threads. work_per_sample is in multiply-adds (see nn_work_per_sample). A negative
 * max_threads forces -max_threads threads. */
int nn_worthwhile_threads(size_t work_per_sample, size_t samples_per_step, size_t num_samples, int max_threads);

/* The items first, first + 1, ..., last - 1. */
typedef struct {
    size_t first, last;
} NNRange;

/* Returns the share of thread `thread_index` when num_threads threads divide num_items items. */
static inline NNRange nn_share(size_t num_items, int thread_index, int num_threads)
{
    NNRange range = {num_items * (size_t)thread_index / (size_t)num_threads,
                     num_items * (size_t)(thread_index + 1) / (size_t)num_threads};
    return range;
}

/* A flag that several threads write and read without ordering anything else (relaxed atomics). */
static inline void nn_flag_set(int *flag, int value)
{
#ifdef __GNUC__
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
#else
    *(volatile int *)flag = value; /* atomic in MSVC */
#endif
}

static inline int nn_flag_get(const int *flag)
{
#ifdef __GNUC__
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
#else
    return *(const volatile int *)flag;
#endif
}

#endif /* NN_TEAM_H_ */
