/* monitor.h: counts the work of a call and polls the caller's NNMonitor every few milliseconds. */
#ifndef NN_MONITOR_H_
#define NN_MONITOR_H_

#include "engine.h"

/* Returns an estimate of the work of the forward pass of one sample, in multiply-adds. */
size_t nn_work_per_sample(NeuralNetwork nn);

/* Adds `work` multiply-adds to monitor->work. If some milliseconds of work have come together, calls monitor->poll and returns what
 * it returns: not 0 to stop the call. Returns 0 otherwise. */
int nn_poll(NNMonitor *monitor, size_t work);

/* Returns a monitor that never stops a call. */
NNMonitor nn_silent_monitor(void);

/* Whether the forward passes of num_samples samples are so little work, some tenths of a millisecond, that the caller need not be
 * polled and no thread is worth starting. */
int nn_are_few(NeuralNetwork nn, size_t num_samples);

#endif /* NN_MONITOR_H_ */
