"""The library behind the interfaces of others; each module imports the library that it is for."""
