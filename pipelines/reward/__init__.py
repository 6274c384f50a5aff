"""Train reward models on preferences: of people, of judges, or planted ones."""
