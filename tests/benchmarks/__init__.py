"""What speed and memory cost, as ratios taken side by side in one run; never a test that times.

`python -m tests.benchmarks` runs the groups that take minutes at most; name groups to choose.
"""
