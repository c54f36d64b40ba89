"""Predictions on microcontrollers: the networks, the codes that are compared, and an emulated board that measures them.

networks.py   trains the networks
codes.py      writes the C code of each generator: functions `setup` and `predict`
peers.py      runs other generators, in an environment of its own that has their packages
board.py      compiles the code, takes its size, and runs it in QEMU
size.c        the program whose size is taken
measure.c     the program that runs
"""
