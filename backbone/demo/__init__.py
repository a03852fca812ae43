"""The demonstration: certificates, transport costs, trajectories, digits."""
