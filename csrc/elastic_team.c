/* elastic_team.c: see elastic_team.h. */
#include "elastic_team.h"

#define WARM_UP_STEPS 1 /* after a change of size, which are not measured */
#define MIN_STEPS 4     /* that are measured */
#define CLEARLY 0.95    /* alone has to be faster by this factor */
#define STEPS_BETWEEN_TRIALS 40 /* with the whole team, times the patience: a trial must not cost much */

/* Seconds. An interval doubles if the trial shows that nothing should change. With the whole team the first is long enough to notice
 * other processes, which the system lets run for some milliseconds at a time. */
#define MIN_WHOLE_TEAM_INTERVAL 0.006
#define MAX_PATIENCE 16
#define MIN_ALONE_INTERVAL 0.1
#define MAX_ALONE_INTERVAL 0.8

#define STEP_MASK 0x3fffffff
#define NOBODY_RESTS (-1)

static double doubled(double interval, double most)
{
    return interval * 2 < most ? interval * 2 : most;
}

static void change_mode(NNElasticTeam *e, NNElasticMode mode)
{
    e->mode = mode;
    e->steps_in_mode = 0;
}

/* Thread 0, between two steps: the other threads go on with it. */
static void call_back(NNElasticTeam *e, NNPosition position)
{
    e->position = position;
    e->all_are_back = 0;
    nn_call_back(&e->generation);
}

/* Whether the whole team takes part in the next step. Called before each step. */
static int takes_whole_team(NNElasticTeam *e)
{
    double now = nn_seconds(), seconds;
    size_t measured;
    if (e->steps_in_mode++ == WARM_UP_STEPS) {
        e->start = now;
    }
    measured = e->steps_in_mode > WARM_UP_STEPS ? e->steps_in_mode - WARM_UP_STEPS - 1 : 0;
    if (measured < MIN_STEPS) {
        return e->mode == NN_WHOLE_TEAM;
    }
    seconds = now - e->start;
    switch (e->mode) {
    case NN_WHOLE_TEAM:
        if (seconds >= MIN_WHOLE_TEAM_INTERVAL * (e->patience > 1 ? e->patience : 1) &&
            (double)measured >= STEPS_BETWEEN_TRIALS * e->patience) {
            e->whole_team_seconds = seconds / (double)measured;
            change_mode(e, NN_TRIAL_ALONE);
        }
        break;
    case NN_TRIAL_ALONE:
        if (seconds / (double)measured < CLEARLY * e->whole_team_seconds) {
            change_mode(e, NN_ALONE);
            e->patience = 0;
        } else {
            change_mode(e, NN_WHOLE_TEAM);
            e->patience = e->patience == 0 ? 1 : doubled(e->patience, MAX_PATIENCE);
            e->alone_interval = MIN_ALONE_INTERVAL;
        }
        break;
    default:
        if (seconds >= e->alone_interval) {
            change_mode(e, NN_WHOLE_TEAM);
            e->alone_interval = doubled(e->alone_interval, MAX_ALONE_INTERVAL);
        }
        break;
    }
    return e->mode == NN_WHOLE_TEAM;
}

void nn_elastic_before_step(NNElasticTeam *e, const NNTeam *team, size_t step)
{
    if (e->full_size == 0) {
        e->full_size = team->size;
        e->patience = 1;
        e->alone_interval = MIN_ALONE_INTERVAL;
    }
    e->next_size = e->is_fixed || e->full_size == 1 || takes_whole_team(e) ? e->full_size : 1;
#ifdef NN_RANDOM_TEAM_SIZES /* for tests */
    e->next_size = (step + 1) * 2654435761u >> 9 & 3 ? e->full_size : 1;
#endif
    if (team->size < e->full_size) {
        return;
    }
    /* In the first step of the whole team, a thread may not have read yet from which step on it had to rest before. In the second
     * step all have: they have passed a barrier of the first. */
    if (!e->all_are_back) {
        e->all_are_back = 1;
        e->next_size = e->full_size;
    } else {
        nn_flag_set(&e->rests_from, e->next_size < e->full_size ? (int)((step + 1) & STEP_MASK) : NOBODY_RESTS);
    }
}

int nn_elastic_after_step(NNElasticTeam *e, NNTeam *team, int thread_index, NNPosition *position, int *seen)
{
    if (thread_index == 0) {
        if (e->next_size > team->size) {
            call_back(e, *position);
        }
        team->size = e->next_size;
        return 1;
    }
    if (nn_flag_get(&e->rests_from) != (int)(position->num_steps & STEP_MASK)) {
        return 1;
    }
    nn_wait_to_be_called(&e->generation, *seen);
    ++*seen;
    *position = e->position;
    return !e->is_over;
}

void nn_elastic_end(NNElasticTeam *e, const NNTeam *team)
{
    if (team->size < e->full_size) {
        NNPosition nowhere = {0, 0, 0};
        e->is_over = 1;
        call_back(e, nowhere);
    }
}
