"""Budgeted training: one network, several budgets, every schedule stretched to each of them.

After "REX: Revisiting Budgeted Training with an Improved Schedule", arXiv 2107.04197. A data set
with its model is a file in `settings`, a schedule a line in `schedules`; `engine` trains, `study`
runs the budgets and tunes the rate, `report` shows what came out. The small study is
``python -m benchmarks.budgeted demo``.
"""
