"""Rewards for other engines: each file stands alone, is copied into an export, and asks `her serve reward` over HTTP."""
