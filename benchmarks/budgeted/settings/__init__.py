"""The settings, a file each; each has a function of its own name that returns the `Setting`."""
