"""The tests, as a package of its own: a peer installs one of the same name."""
