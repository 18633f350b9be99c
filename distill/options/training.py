"""Settings of the training: the recipe, the network, the noise."""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import OptionError
from distill.options.setting import Checked, option


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Checked, title="Training"):
    """The single-image recipe."""

    repeats: int = option(20, "Repeats", "How often the picture comes in one epoch.", ge=1, le=1000)
    repeats_of: str = option(
        "epoch",
        "Repeats count",
        "epoch: views and further pictures share them; picture: each one comes so often, as with kohya's folders.",
        choices=("epoch", "picture"),
    )
    epochs: int = option(6, "Epochs", "Each epoch is kept as a file of its own.", ge=1, le=100)
    batch_size: int = option(
        2, "Batch size", "Draws of noise, timestep and caption order in one step, all on the one picture.", ge=1, le=64
    )
    unet_lr: float = option(1e-3, "UNet learning rate", "Higher learns sooner and overfits sooner.", ge=0, le=1)
    train_text_encoder: bool = option(False, "Train the text encoder", "Teaches the words too; overfits sooner.")
    text_encoder_lr: float = option(
        5e-5, "Text encoder learning rate", "Used when the text encoder is trained.", ge=0, le=1
    )
    loraplus_lr_ratio: float = option(
        4.0,
        "LoRA+ ratio",
        "How many times the learning rate the half of a layer gets that begins at 0 (lora_up); 1 is plain LoRA. "
        "Prodigy has one rate for both.",
        ge=1,
        le=64,
    )
    optimizer: str = option(
        "adamw",
        "Optimizer",
        "adamw8bit needs bitsandbytes and CUDA; prodigy needs prodigyopt and finds its rate itself: set rates to 1.",
        choices=("adamw", "adamw8bit", "lion", "prodigy", "adafactor"),
    )
    optimizer_args: str = option(
        "", "Optimizer arguments", "For example betas=(0.9,0.99) d_coef=2; names are the optimizer's own."
    )
    lr_scheduler: str = option(
        "constant",
        "Schedule",
        "How the learning rate goes on after warm-up.",
        choices=("constant", "linear", "cosine", "cosine_with_restarts", "polynomial"),
    )
    lr_cycles: int = option(1, "Restarts", "How often cosine_with_restarts starts anew.", ge=1, le=100)
    lr_power: float = option(1.0, "Power", "Of the polynomial schedule; 1 is a straight line.", ge=0.01, le=10)
    lr_warmup: float = option(0.05, "Warm-up", "Share of the steps in which the rate rises from 0.", ge=0, le=1)
    weight_decay: float = option(0.01, "Weight decay", "AdamW's pull towards no change.", ge=0, le=1)
    max_grad_norm: float = option(1.0, "Gradient clipping", "Largest gradient norm; 0 switches it off.", ge=0, le=100)
    gradient_accumulation: int = option(
        1,
        "Gradient accumulation",
        "Batches of one step, one after the other: a larger batch in less memory.",
        ge=1,
        le=64,
    )
    stop_early: bool = option(
        False, "Stop when nothing is gained", "End after two epochs that bring nothing more, by the meters."
    )
    ema_decay: float = option(
        0.0,
        "EMA decay",
        "Save a running mean of the weights instead of the last ones; 0 switches it off.",
        ge=0,
        le=0.9999,
    )
    flip: bool = option(False, "Flip", "Half of the draws see the picture mirrored.")
    gradient_checkpointing: bool = option(
        False, "Gradient checkpointing", "Less memory, about a third slower, same result."
    )
    cuda_graph: bool = option(
        False,
        "CUDA graph",
        "Record the step once, for a quick card that waits for Python; same result. Not yet tried on a card.",
    )
    seed: int = option(0, "Seed", "Same seed, same LoRA.", ge=0, le=2**32 - 1)

    @property
    def steps(self) -> int:
        """Optimizer steps in all for one picture without regularization pictures."""
        return self.steps_of(self.repeats) * self.epochs

    def steps_of(self, draws: int) -> int:
        """Steps that so many draws of pictures are; the last batch of an epoch is a whole one."""
        return -(-draws // self.batch_size)


@dataclass(frozen=True, kw_only=True)
class NetworkOptions(Checked, title="Network"):
    """What is trained: the LoRA's form and size."""

    network_type: str = option(
        "lora",
        "Network",
        "lora: attention and feed-forward; locon: convolutions too; loha and lokr: LyCORIS' other products.",
        choices=("lora", "locon", "loha", "lokr"),
    )
    network_dim: int = option(16, "Rank", "Size of the LoRA (network_dim).", ge=1, le=320)
    network_alpha: float = option(16.0, "Alpha", "The LoRA's scale is alpha / rank (network_alpha).", ge=0.01, le=320)
    conv_dim: int = option(
        8, "Rank of convolutions", "For locon, loha and lokr; 0 leaves 3x3 layers out.", ge=0, le=320
    )
    conv_alpha: float = option(8.0, "Alpha of convolutions", "Scale is alpha / rank.", ge=0.01, le=320)
    block_weights: str = option(
        "",
        "Block weights",
        "How much each UNet block learns: 25 numbers (12 down, middle, 12 up) or OUTD (article), IND, MIDD, OUTALL ...",
    )
    network_dropout: float = option(
        0.0, "Network dropout", "Chance of a number inside the LoRA to be 0.", ge=0, le=0.95
    )
    rank_dropout: float = option(0.0, "Rank dropout", "Chance of a whole rank to be 0.", ge=0, le=0.95)
    module_dropout: float = option(0.0, "Module dropout", "Chance of a whole layer to be left out.", ge=0, le=0.95)
    scale_weight_norms: float = option(
        0.0,
        "Scale weight norms",
        "Largest norm of a layer's change; 1 is a good start, 0 switches it off.",
        ge=0,
        le=10,
    )
    lokr_factor: int = option(-1, "LoKr factor", "Size of LoKr's small matrix; -1 chooses it.", ge=-1, le=64)

    def __post_init__(self) -> None:
        super().__post_init__()
        extras = ("network_dropout", "rank_dropout", "module_dropout", "scale_weight_norms")
        given = [name for name in extras if getattr(self, name)]
        if given and self.network_type in ("loha", "lokr"):
            raise OptionError(
                f"{', '.join(given)}: not for {self.network_type}.", "Set them to 0, or choose lora or locon."
            )


@dataclass(frozen=True, kw_only=True)
class NoiseOptions(Checked, title="Noise"):
    """Which noise, and what each timestep counts."""

    noise_offset: float = option(
        0.0, "Noise offset", "Lets whole pictures become darker or brighter; 0.05 to 0.1 is usual.", ge=0, le=1
    )
    noise_offset_random: bool = option(False, "Random noise offset", "Anything up to the noise offset for each draw.")
    adaptive_noise_scale: float = option(
        0.0, "Adaptive noise scale", "Adds the latents' mean times this to the noise offset.", ge=-1, le=1
    )
    multires_noise_iterations: int = option(
        0, "Multires noise", "Coarser noises on top, how many; 6 to 10 is usual, 0 is none.", ge=0, le=64
    )
    multires_noise_discount: float = option(
        0.3, "Multires discount", "How much each coarser noise counts of the one before.", ge=0, le=1
    )
    ip_noise_gamma: float = option(
        0.0, "Input perturbation", "Extra noise that the target does not know of; 0.1 is usual.", ge=0, le=1
    )
    ip_noise_random: bool = option(False, "Random input perturbation", "Anything up to that for each draw.")
    min_snr_gamma: float = option(
        5.0,
        "Min-SNR gamma",
        "Lets low noise count less: 5 is usual, lower is stronger, 0 switches it off.",
        ge=0,
        le=20,
    )
    debiased_estimation: bool = option(False, "Debiased estimation", "Lets high noise count much more.")
    scale_v_pred_loss: bool = option(
        False, "Scale v-prediction loss", "For v-prediction checkpoints: timesteps count as for the others."
    )
    timestep_lean: float = option(
        0.0,
        "Lean to timesteps",
        "Above 0 low noise (detail) counts more, below 0 high noise (shape and pose). 0.33 is 1.33 falling to 0.67.",
        ge=-1,
        le=1,
    )
    spread_timesteps: bool = option(
        True, "Spread timesteps", "Those of a batch lie evenly over the range, which makes its gradient steadier."
    )
    min_timestep: int = option(0, "First timestep", "0 is no noise.", ge=0, le=999)
    max_timestep: int = option(1000, "Timesteps below", "1000 is only noise.", ge=1, le=1000)
    prediction: str = option(
        "auto",
        "Prediction",
        "What the checkpoint predicts; auto knows it from the checkpoint.",
        choices=("auto", "epsilon", "v_prediction"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_timestep >= self.max_timestep:
            raise OptionError(
                f"Timesteps go from {self.min_timestep} to below {self.max_timestep}.",
                "Choose a first one below the last.",
            )
