"""Fine-tune a model on samples (supervised fine-tuning, SFT) and save a checkpoint that chats in the playground."""
