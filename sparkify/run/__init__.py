"""What a run of etl.py is asked, shows, sets aside and sums up."""
