"""Supervised fine-tuning: samples -> a checkpoint that chats in the playground."""
