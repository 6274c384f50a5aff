"""Deploy: read checkpoints, serve them with vLLM, write launch files for clusters, upload the playground to a Space."""
