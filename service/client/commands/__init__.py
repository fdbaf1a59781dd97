"""The commands of users for the objects of the API, one module per kind of object."""
