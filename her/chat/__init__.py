"""Run chats: prompts, generations, pages and views, without Gradio."""
