"""Which rows should a superstep write? The same supersteps in several layouts, as plain SQL on the savers' tables.

`python -m benchmarks.row_layouts` measures them and prints tables; decision 28 has the figures of one run. It is no
question of `benchmarks.questions`: it compares layouts that nobody can choose, and the page of figures has no place for
them.

What is timed is the database with its driver. The parameters of all statements are made before, by the functions that
the savers use.
"""
