/* team.h: threads that work on one call together, and the barrier between their phases. */
#ifndef NN_TEAM_H_
#define NN_TEAM_H_

typedef struct {
    int size;       /* threads, the caller's among them */
    int waiting;    /* at the barrier */
    int generation; /* of the barrier */
} NNTeam;

/* Whether this build has threads. */
extern const int nn_has_threads;

/* work(context, team, number) on `size` threads, or on as many as can be had, with numbers from 0, the caller's; returns when
 * all have. Each call starts its threads and ends them, so that there are none to be lost by fork, to spin when there is nothing
 * to do, or to belong to another of the caller's threads; that costs some 20 us. */
void nn_team_run(int size, void (*work)(void *context, NNTeam *team, int number), void *context);

/* Returns when every thread of the team has come here. What they wrote before is seen by all after. */
void nn_team_wait(NNTeam *team);

#endif /* NN_TEAM_H_ */
