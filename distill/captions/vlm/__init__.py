"""Vision-language models out of a folder, in this process."""
