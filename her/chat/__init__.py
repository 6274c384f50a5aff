"""Run one chat: prompts, generations, pages and views, without Gradio."""
