"""The rules that the tables keep, and the check that they do."""
