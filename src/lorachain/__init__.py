"""lorachain: LoRA and QLoRA fine-tuning in a chain of versions."""

__version__ = "0.1.0"
