"""Published tables and figures: what each of them holds, and ours beside theirs.

A file of ``properties/paper`` (or one of the user's) names the rows, the data and the numbers of
one table or figure. The rows are run as cells of comparisons, so earlier results are reused.
"""
