"""Which schedule, how high, for how many updates: a study with paired seeds and fine peaks.

`space` names what is compared, `run` trains it and appends lines of results, `statistics` has the
paired differences and their intervals, `report` writes the tables and the picture.
"""
