"""Class pictures: your own, or made by the checkpoint once and kept."""
