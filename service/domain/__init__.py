"""What is true with no clock, network or disk: plain Python, no third party."""
