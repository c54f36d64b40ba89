/* monitor.h: counts the work of a call and polls the caller's NNMonitor every few milliseconds. */
#ifndef NN_MONITOR_H_
#define NN_MONITOR_H_

#include "engine.h"

/* Returns an estimate of the work of the forward pass of one sample, in multiply-adds. */
size_t nn_work_per_sample(NeuralNetwork nn);

/* Adds `work` multiply-adds to monitor->work. If some milliseconds of work have come together, calls monitor->poll and returns what
 * it returns: not 0 to stop the call. Returns 0 otherwise. */
int nn_poll(NNMonitor *monitor, size_t work);

#endif /* NN_MONITOR_H_ */
