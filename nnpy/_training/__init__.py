"""The parts of `NeuralNetwork.fit`: defaults, options, data, steps, what is monitored, the loop, checkpoints."""
