"""Make a data set that may be published of what the people of a playground rated and voted."""
