"""Define the rating rubric and turn what people said about turns into preferences."""
