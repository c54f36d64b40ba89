/* test_elastic_team.c: how elastic_team.c decides who takes part in a step, with a clock of the test's own. Link it with all C files of
 * csrc/ and -Wl,--wrap=nn_seconds. Returns 1 if a check fails. */
#include <stdio.h>

#include "elastic_team.h"

static double now = 1;

double __wrap_nn_seconds(void);
double __wrap_nn_seconds(void)
{
    return now;
}

/* Takes steps for some seconds, which last so long with the team and alone. Returns the share of steps that were taken alone. */
static double share_alone(NNElasticTeam *e, NNTeam *team, NNPosition *at, double seconds, double whole_team_step, double alone_step)
{
    double end = now + seconds;
    size_t num_steps = 0, num_alone = 0;
    int seen = 0;
    while (now < end) {
        nn_elastic_before_step(e, team, at->num_steps);
        now += team->size > 1 ? whole_team_step : alone_step;
        num_alone += team->size == 1;
        num_steps++;
        at->num_steps++;
        nn_elastic_after_step(e, team, 0, at, &seen);
    }
    return (double)num_alone / (double)num_steps;
}

static int check(const char *what, double share, double low, double high)
{
    int is_wrong = !(low <= share && share <= high);
    if (is_wrong) {
        printf("%s: %.3f of the steps were taken alone, not %.2f to %.2f\n", what, share, low, high);
    }
    return is_wrong;
}

int main(void)
{
    NNBarrier barrier = {0, 0};
    NNTeam team = {2, &barrier}, fixed_team = {2, &barrier}, single = {1, &barrier};
    NNElasticTeam e = {.rests_from = -1}, fixed = {.rests_from = -1, .is_fixed = 1}, of_one = {.rests_from = -1};
    NNPosition at = {0, 0, 0}, fixed_at = {0, 0, 0}, single_at = {0, 0, 0};
    int failed = 0;
    failed |= check("quiet", share_alone(&e, &team, &at, 2, 50e-6, 90e-6), 1e-6, 0.01); /* it tries now and then */
    failed |= check("becoming busy", share_alone(&e, &team, &at, 0.3, 300e-6, 90e-6), 0.5, 1);
    failed |= check("busy", share_alone(&e, &team, &at, 4, 300e-6, 90e-6), 0.97, 0.9999);
    failed |= check("becoming quiet", share_alone(&e, &team, &at, 1, 50e-6, 90e-6), 0, 0.95);
    failed |= check("quiet again", share_alone(&e, &team, &at, 2, 50e-6, 90e-6), 1e-6, 0.01);
    failed |= check("as fast", share_alone(&e, &team, &at, 2, 90e-6, 90e-6), 1e-6, 0.02);
    failed |= check("fixed", share_alone(&fixed, &fixed_team, &fixed_at, 2, 300e-6, 90e-6), 0, 0);
    failed |= check("one thread", share_alone(&of_one, &single, &single_at, 1, 300e-6, 90e-6), 1, 1);
    nn_elastic_end(&e, &team);
    return failed;
}
