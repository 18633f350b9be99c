"""What leaves the house: LoRA files and pictures."""
