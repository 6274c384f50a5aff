"""Turn checkpoints into servers, cluster jobs and Spaces: inspect, serve, launch, publish."""
