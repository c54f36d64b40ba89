/* elastic_team.h: a team whose other threads rest while the caller's thread alone is faster: on a machine that has other work to do,
 * threads wait for each other at every barrier.
 *
 * All threads take the same steps, one after another. Before a step, thread 0 measures how long steps take with the whole team and
 * without it, now and then, and decides who takes part in the next one. Threads that rest miss steps; when they are called back they
 * go on from the position of thread 0. */
#ifndef NN_ELASTIC_TEAM_H_
#define NN_ELASTIC_TEAM_H_

#include <stddef.h>

#include "team.h"

/* Where a training loop is. */
typedef struct {
    size_t epoch, first; /* the next step begins with sample number `first` of the epoch */
    size_t num_steps;
} NNPosition;

typedef enum { NN_WHOLE_TEAM, NN_TRIAL_ALONE, NN_ALONE } NNElasticMode;

/* Initially all 0, but rests_from -1, and is_fixed as the caller wants it. */
typedef struct {
    int is_fixed;        /* the team keeps its size */
    int rests_from;      /* the threads rest from this step on: its number modulo 2^30, or -1; written by thread 0, a relaxed atomic */
    int generation;      /* counts how often the threads were called back; an atomic */
    int is_over;         /* they were called to return */
    NNPosition position; /* where they go on */

    /* Of thread 0 only. */
    NNElasticMode mode;
    int full_size, next_size;
    int all_are_back;                           /* whether the whole team has taken a step since the threads were called back */
    size_t steps_in_mode;
    double start;                               /* of the measurement: the time in seconds */
    double whole_team_seconds;                  /* of a step, when it was measured last */
    double patience;       /* how long the whole team goes on until the next trial: 0 after it was slower, then 1, 2, 4, ... */
    double alone_interval; /* in seconds: until the whole team is tried again */
} NNElasticTeam;

/* Thread 0 calls it before step number `step`. */
void nn_elastic_before_step(NNElasticTeam *elastic, const NNTeam *team, size_t step);

/* Every thread that took part in a step calls it after the step, with the position of the next one and the generation that it saw,
 * at first 0. Returns whether to go on: from *position, with the present size of the team. Threads that rest return when they are
 * called back. */
int nn_elastic_after_step(NNElasticTeam *elastic, NNTeam *team, int thread_index, NNPosition *position, int *seen);

/* Thread 0 calls it when its loop has ended: the threads that rest return. */
void nn_elastic_end(NNElasticTeam *elastic, const NNTeam *team);

#endif /* NN_ELASTIC_TEAM_H_ */
