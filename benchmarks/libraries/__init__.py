"""How each library does the workloads: a module for each, with a function for each kind of workload that the library does.

A function prepares everything that is not timed, and returns what the worker verifies and times:

training(workload)
    Two functions. The first takes x and y, trains a new network on them for one epoch without shuffling, and returns the
    weights, shape (n_in, n_out) for each layer. The second, which is timed, trains for one epoch on shuffled data.
prediction(workload)
    A function that returns the outputs, shape (n, n_out).
quantized_prediction(workload)
    The same, with weights and inputs of 8 bits.
xor(workload, iterations)
    A function that trains from the initial parameters and returns the outputs, shape (4, 1). The module's XOR_ITERATIONS says
    how many iterations are timed.
digits(workload)
    A function that trains a new network and returns its outputs for the test images, shape (n, 10).
regression(workload)
    A function that trains a new network and returns the loss that ended the training and a function that computes the outputs.
many_networks(workload)
    A function that trains new networks and returns a function that computes their outputs, an array for each network.
"""
