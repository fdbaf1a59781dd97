"""The commands that list, show, and change the objects of the API: one module for each noun.

`requests` sends their requests, `tables` prints the responses, and `options` contains the options that they share.
"""
