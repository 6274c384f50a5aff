"""Read personas, scenes, books and published data sets from files."""
