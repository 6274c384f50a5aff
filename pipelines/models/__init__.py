"""Library for all pipelines that train: load, create and save models, encode samples, train with shared prefixes."""
