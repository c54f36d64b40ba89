/* team.h: threads that work on one call together, and the barrier between their phases. */
#ifndef NN_TEAM_H_
#define NN_TEAM_H_

typedef struct {
    int size;       /* threads, the caller's among them */
    int waiting;    /* at the barrier */
    unsigned int generation; /* of the barrier */
} NNTeam;

/* Whether this build has threads. */
extern const int nn_has_threads;

/* work(context, team, number) on `size` threads, or on as many as can be had, with numbers from 0, the caller's; returns when
 * all have. Each call starts its threads and ends them, so that there are none to be lost by fork, to spin when there is nothing
 * to do, or to belong to another of the caller's threads; that costs some 20 us. */
void nn_team_run(int size, void (*work)(void *context, NNTeam *team, int number), void *context);

/* Returns when every thread of the team has come here. What they wrote before is seen by all after. */
void nn_team_wait(NNTeam *team);

/* A number that several threads write and read, without any order to what else they do. */
static inline void nn_set_flag(int *flag, int value)
{
#ifdef __GNUC__
    __atomic_store_n(flag, value, __ATOMIC_RELAXED);
#else
    *flag = value; /* there is one thread */
#endif
}

static inline int nn_flag(const int *flag)
{
#ifdef __GNUC__
    return __atomic_load_n(flag, __ATOMIC_RELAXED);
#else
    return *flag;
#endif
}

#endif /* NN_TEAM_H_ */
