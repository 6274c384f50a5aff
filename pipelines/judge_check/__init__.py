"""Check a judge or reward model against labels of people or judges, and write its report card."""
