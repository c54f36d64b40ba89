"""The parts of `NeuralNetwork.fit`: options, data, steps, what is monitored, the loop, checkpoints."""
