"""Which schedule, how high, for how many updates: a study with paired seeds and fine peaks.

`space` names what is compared, `plans` says on what. `run` trains it and appends lines of results.
`report` makes a page of them, with `tables` and `figures`.
"""
