/* monitor.h: counts the work of a call and polls the caller's NNMonitor every few milliseconds. */
#ifndef NN_MONITOR_H_
#define NN_MONITOR_H_

#include "engine.h"

/* An estimate of the work of a forward pass of one sample, in multiply-adds. */
size_t nn_work_per_sample(NeuralNetwork nn);

/* Adds `work` multiply-adds to monitor->work and calls monitor->poll if that is enough for some milliseconds. Not 0 if the monitor
 * asks to stop. */
int nn_poll(NNMonitor *monitor, size_t work);

#endif /* NN_MONITOR_H_ */
