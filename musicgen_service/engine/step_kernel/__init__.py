"""A step through all layers on a CPU as one function that numba compiles, and that several threads run together."""
