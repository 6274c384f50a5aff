"""Ratings of people: the rubric, the reliability of raters, and the training data made of both."""
