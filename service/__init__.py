"""The Results API: stores the outcome of every validation run and serves queries about it."""
