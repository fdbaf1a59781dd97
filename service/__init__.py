"""The Results API: keeps the outcome of every validation run and answers questions about it."""
