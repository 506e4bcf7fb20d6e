"""What to do with a whole budget: choose on short runs, carry over, train on the rest.

`plans` names the schedules and the policies, `run` trains every schedule at every peak under every
budget that a policy may use, `choice` makes the policies' choices from these results, and `report`
compares what they come to with an oracle.
"""
