"""Loops over the cells of a panel, compiled: sorting, ranks, rank correlation, group books.

Each kernel takes plain arrays and writes into arrays it is given; a row never reads another row
unless its name says so. Kernels run without the interpreter's lock, so that blocks of rows share
the cores, and every output cell is written by one thread: results do not depend on how many there
are. Compiled code is cached beside the sources.
"""
