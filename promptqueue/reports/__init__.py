"""Reports of a verification, for people and for machines."""
