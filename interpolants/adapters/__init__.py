"""The library behind the interfaces of other projects: switch by changing an import."""
