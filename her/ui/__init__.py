"""The playground in the browser: the only room that knows Gradio."""
