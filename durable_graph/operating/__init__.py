"""The command line: a worker as a process, and reading and changing a store without the code of its graphs.

Each command is a plain function in `commands`, which reads its arguments and prints. The work is in the other modules,
which print nothing. Only `commands` knows cyclopts.
"""
