"""What speed and memory cost, as ratios taken side by side in one run; never a test that times.

`python -m tests.benchmarks` runs every group but `embedded`; name groups to choose.
"""
