"""The contract of the step preprocessing: what loaders hand out, measured on images of its own."""
