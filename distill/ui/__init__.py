"""The Distill tab: the same inside a WebUI (gradio 3.41 and 4.40) and stand-alone (newest gradio)."""
