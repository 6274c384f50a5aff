"""The playground in the browser; no other package imports Gradio."""
