"""Sampling to files: what is sampled as data, in parts that survive a stop, with a manifest that makes it again.

:class:`backbone.SampleConfig` says what is sampled, :func:`backbone.write_samples` writes it and
:func:`backbone.reproduce` makes it again from its manifest.
"""
