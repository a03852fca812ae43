"""Other projects' interfaces over this library, one package or module each: switch by changing an import."""
