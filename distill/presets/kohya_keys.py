"""What kohya's settings are called, and which of them are ours: by the GUI's names, most of which are sd-scripts' too.

From kohya_ss (`kohya_gui/lora_gui.py`, `class_basic_training.py`, `class_advanced_training.py`) and sd-scripts
(`train_network.py`, `library/train_util.py`, `networks/lora.py`).
"""

from __future__ import annotations

from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GUI_DEFAULTS: dict[str, Any] = {
    "LoRA_type": "Standard",
    "learning_rate": 1e-4,
    "unet_lr": 1e-4,
    "text_encoder_lr": 5e-5,
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "optimizer": "AdamW8bit",
    "network_dim": 8,
    "network_alpha": 1,
    "loraplus_lr_ratio": 1,
    "min_snr_gamma": 0,
    "train_batch_size": 1,
    "conv_dim": 1,
    "conv_alpha": 1,
    "max_resolution": "512,512",
    "enable_bucket": True,
    "shuffle_caption": False,
    "keep_tokens": 0,
    "masked_loss": False,
    "save_precision": "fp16",
}
"""The page as it opens, where that is not our default; 2023's, when the articles were written."""

SCRIPT_DEFAULTS: dict[str, Any] = GUI_DEFAULTS | {
    "learning_rate": 2e-6,
    "unet_lr": "",
    "text_encoder_lr": "",
    "lr_scheduler": "constant",
    "lr_warmup": 0,
    "optimizer": "AdamW",
    "network_dim": 4,
    "enable_bucket": False,
}
"""sd-scripts without any argument."""

DIRECT: dict[str, str] = {
    "network_dim": "network_dim",
    "network_alpha": "network_alpha",
    "loraplus_lr_ratio": "loraplus_lr_ratio",
    "conv_dim": "conv_dim",
    "conv_alpha": "conv_alpha",
    "factor": "lokr_factor",
    "network_dropout": "network_dropout",
    "rank_dropout": "rank_dropout",
    "module_dropout": "module_dropout",
    "scale_weight_norms": "scale_weight_norms",
    "train_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation",
    "max_grad_norm": "max_grad_norm",
    "lr_scheduler_num_cycles": "lr_cycles",
    "lr_scheduler_power": "lr_power",
    "flip_aug": "flip",
    "color_aug": "color_aug",
    "keep_tokens": "keep_tokens",
    "shuffle_caption": "shuffle",
    "caption_dropout_rate": "caption_dropout",
    "caption_tag_dropout_rate": "tag_dropout",
    "max_token_length": "max_token_length",
    "clip_skip": "clip_skip",
    "prior_loss_weight": "reg_weight",
    "noise_offset": "noise_offset",
    "noise_offset_random_strength": "noise_offset_random",
    "adaptive_noise_scale": "adaptive_noise_scale",
    "multires_noise_iterations": "multires_noise_iterations",
    "multires_noise_discount": "multires_noise_discount",
    "ip_noise_gamma": "ip_noise_gamma",
    "ip_noise_gamma_random_strength": "ip_noise_random",
    "min_snr_gamma": "min_snr_gamma",
    "debiased_estimation_loss": "debiased_estimation",
    "scale_v_pred_loss_like_noise_pred": "scale_v_pred_loss",
    "min_timestep": "min_timestep",
    "max_timestep": "max_timestep",
}
"""kohya's name: ours; the value means the same."""

TYPES: dict[str, str] = {
    "Standard": "lora",
    "Kohya LoCon": "locon",
    "LyCORIS/LoCon": "locon",
    "LoCon": "locon",
    "LyCORIS/LoHa": "loha",
    "LyCORIS/LoKr": "lokr",
}
"""LoRA_type: network_type. Of several, the first is the one that is written."""

OPTIMIZERS: dict[str, tuple[str, str]] = {
    "adamw": ("adamw", ""),
    "adamw8bit": ("adamw8bit", ""),
    "pagedadamw8bit": ("adamw8bit", "the same steps, without paging"),
    "pagedadamw": ("adamw", "the same steps, without paging"),
    "pagedadamw32bit": ("adamw", "the same steps, without paging"),
    "lion": ("lion", ""),
    "lion8bit": ("lion", "the same steps, not in 8 bits"),
    "pagedlion8bit": ("lion", "the same steps, not in 8 bits"),
    "prodigy": ("prodigy", ""),
    "adafactor": ("adafactor", ""),
}
"""optimizer in small letters: ours, and what is another way here."""

OPTIMIZER_NAMES = {
    "adamw": "AdamW",
    "adamw8bit": "AdamW8bit",
    "lion": "Lion",
    "prodigy": "Prodigy",
    "adafactor": "Adafactor",
}

WEIGHT_DECAY: dict[str, float] = {"adamw": 0.01, "adamw8bit": 0.01, "lion": 0.0, "prodigy": 0.0, "adafactor": 0.0}
"""Of kohya's optimizers without an argument."""

SCHEDULERS: dict[str, str] = {
    "constant_with_warmup": "constant",
    **{name: name for name in ("constant", "linear", "cosine", "cosine_with_restarts", "polynomial")},
}

READ = {
    *DIRECT,
    *("LoRA_type", "learning_rate", "unet_lr", "text_encoder_lr", "lr_scheduler", "lr_warmup", "lr_warmup_steps"),
    *("optimizer", "optimizer_args", "epoch", "max_train_epochs", "max_train_steps", "max_resolution", "enable_bucket"),
    *("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "noise_offset_type"),
    *("masked_loss", "save_precision", "save_every_n_epochs", "additional_parameters"),
    *("network_train_unet_only", "network_train_text_encoder_only"),
}
"""Everything that says something about the recipe and is taken."""

_ELSE = "only SD1.5 is trained here"
_LAYERS = "blocks have rates here, no sizes of their own"

CANNOT: dict[str, str] = {
    "sdxl": _ELSE,
    "v2": _ELSE,
    "flux1_checkbox": _ELSE,
    "sd3_checkbox": _ELSE,
    "lumina_checkbox": _ELSE,
    "hunyuan_image_checkbox": _ELSE,
    "anima_checkbox": _ELSE,
    "block_dims": _LAYERS,
    "block_alphas": _LAYERS,
    "conv_block_dims": _LAYERS,
    "conv_block_alphas": _LAYERS,
    "conv_dims": _LAYERS,
    "conv_alphas": _LAYERS,
    "dim_from_weights": "each training begins anew here",
    "network_weights": "each training begins anew here",
    "lora_network_weights": "each training begins anew here",
    "base_weights": "it is trained on the checkpoint as it is",
    "train_norm": "norm layers are not trained here",
    "use_cp": "convolutions are not decomposed further here",
    "use_tucker": "convolutions are not decomposed further here",
    "use_scalar": "there is no scalar in front of the change here",
    "decompose_both": "LoKr's small matrix stays whole here",
    "rank_dropout_scale": "what is left by rank dropout is not scaled here",
    "dora_wd": "there is no DoRA here",
    "caption_dropout_every_n_epochs": "captions are dropped by chance here",
    "weighted_captions": "captions have no weights here",
    "random_crop": "the picture is cut once; views are cuts of your own",
    "face_crop_aug_range": "the picture is cut once; views are cuts of your own",
    "stop_text_encoder_training": "the text encoder is trained to the end here",
    "stop_text_encoder_training_pct": "the text encoder is trained to the end here",
    "lr_scheduler_type": "schedules from other packages are not here",
    "lr_scheduler_args": "the schedules here have no more arguments",
    "lr_decay_steps": "the schedules here have no more arguments",
    "v_pred_like_loss": "use Lean to timesteps",
    "perlin_noise": "there is multires noise here",
    "zero_terminal_snr": "the checkpoint's own schedule is kept",
    "token_warmup_min": "all tags are there from the first step",
    "token_warmup_step": "all tags are there from the first step",
    "keep_tokens_separator": "keep tokens counts tags here",
    "secondary_separator": "tags are separated by commas here",
    "enable_wildcard": "captions have no wildcards here",
    "loraplus_unet_lr_ratio": "UNet and text encoder have one LoRA+ ratio here",
    "loraplus_text_encoder_lr_ratio": "UNet and text encoder have one LoRA+ ratio here",
    "loss_type": "the loss is L2 here",
    "LyCORIS_preset": "which layers are trained follows from the network",
    "learning_rate_te": "that is for fine-tuning a whole model",
}
"""What can't be done here, with the reason: named when it is set."""

LYCORIS_ONLY: frozenset[str] = _words(
    "train_norm use_cp use_tucker use_scalar decompose_both rank_dropout_scale dora_wd LyCORIS_preset"
)
"""Of those, what kohya_ss passes on to LyCORIS' networks only."""

OFF: dict[str, tuple[Any, ...]] = {
    "loss_type": ("l2",),
    "LyCORIS_preset": ("full",),
    "token_warmup_min": (1,),
}
"""Values that mean nothing special, beside "", None, 0 and False."""

NOT_NEEDED: frozenset[str] = _words(
    """
    async_upload blocks_to_swap bucket_no_upscale bucket_reso_steps cache_info cache_latents cache_latents_to_disk
    bypass_mode cache_text_encoder_outputs
    caption_extension caption_extention caption_prefix caption_separator caption_suffix
    conditioning_data_dir config_file constrain dataset_class dataset_config dataset_repeats
    ddp_gradient_as_bucket_view ddp_static_graph ddp_timeout debug_dataset disable_mmap_load_safetensors
    dynamo_backend dynamo_mode dynamo_use_dynamic dynamo_use_fullgraph extra_accelerate_launch_args fp8_base
    fp8_base_unet full_bf16 full_fp16 gpu_ids gradient_checkpointing highvram huber_c huber_scale huber_schedule
    huggingface_path_in_repo huggingface_repo_id huggingface_repo_type huggingface_repo_visibility huggingface_token
    in_json initial_epoch initial_step log_config log_prefix log_tracker_config log_tracker_config_dir
    log_tracker_name log_with logging_dir logit_mean logit_std lowram lowvram main_process_port max_bucket_reso
    max_data_loader_n_workers max_validation_steps mem_eff_attn metadata_author metadata_description
    metadata_license metadata_tags metadata_title min_bucket_reso mixed_precision mode_scale model_list multi_gpu
    network_module no_half_vae no_metadata no_token_padding num_cpu_threads_per_process num_machines num_processes
    output_config output_dir output_name persistent_data_loader_workers pretrained_model_name_or_path reg_data_dir
    rescaled resize_interpolation resume resume_from_huggingface sample_at_first sample_every_n_epochs
    sample_every_n_steps sample_prompts sample_sampler save_as save_as_bool save_every_n_steps save_last_n_epochs
    save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_model_as save_n_epoch_ratio save_state
    save_state_on_train_end save_state_to_huggingface sdpa sdxl_cache_text_encoder_outputs sdxl_checkbox
    sdxl_no_half_vae seed skip_cache_check skip_until_initial_step t5xxl_max_token_length text_encoder_batch_size
    tokenizer_cache_dir torch_compile train_data_dir train_on_input training_comment training_preset unit
    use_safetensors use_wandb v_parameterization vae vae_batch_size vae_reflection_padding validate_every_n_epochs
    validate_every_n_steps validation_seed validation_split wandb_api_key wandb_run_name weighting_scheme xformers
    """
)
"""Paths, memory, logs and machines: the pictures, the checkpoint and the device are already here."""

OTHER_MODELS = (
    "flux",
    "sd3",
    "lumina",
    "hunyuan",
    "anima",
    "t5xxl",
    "gemma2",
    "clip_l",
    "clip_g",
    "ae",
    "double_blocks",
)
"""How settings of other models' tabs begin."""
