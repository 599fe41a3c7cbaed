"""Give users' SQL the tables of a store as views."""
