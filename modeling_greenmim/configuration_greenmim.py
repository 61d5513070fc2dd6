# Copyright 2026 The GreenMIM for transformers authors. All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""GreenMIM model configuration"""

import difflib

from huggingface_hub.dataclasses import strict
from transformers.backbone_utils import BackboneConfigMixin
from transformers.configuration_utils import PreTrainedConfig


@strict
class GreenMimConfig(BackboneConfigMixin, PreTrainedConfig):
    r"""
    This is the configuration class to store the configuration of a [`GreenMimModel`] and of the models built on it. It
    defines the architecture of a Swin Transformer and of the decoder that pre-trains it. The defaults are those of the
    GreenMIM paper's Swin-B at 224 pixels with windows of 7 x 7 patches.

    Configuration objects inherit from [`PreTrainedConfig`] and can be used to control the model outputs. Read the
    documentation from [`PreTrainedConfig`] for more information.

    Args:
        image_size (`int`, `list[int]` or `tuple[int, int]`, *optional*, defaults to 224):
            Size of the images in pixels, (height, width). Other sizes can be run as well.
        patch_size (`int`, *optional*, defaults to 4):
            Side of a patch in pixels.
        num_channels (`int`, *optional*, defaults to 3):
            Number of channels of the images.
        embed_dim (`int`, *optional*, defaults to 128):
            Number of channels of the first stage. Every further stage has twice as many.
        depths (`list[int]` or `tuple[int, ...]`, *optional*, defaults to `(2, 2, 18, 2)`):
            Number of layers in each stage.
        num_heads (`list[int]` or `tuple[int, ...]`, *optional*, defaults to `(4, 8, 16, 32)`):
            Number of attention heads in each stage.
        window_size (`int`, *optional*, defaults to 7):
            Side of the attention windows in tokens.
        mlp_ratio (`float`, *optional*, defaults to 4.0):
            Ratio of the hidden channels of the MLP to the channels of its stage.
        qkv_bias (`bool`, *optional*, defaults to `True`):
            Whether queries, keys and values have a bias.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout probability in the embeddings and the layers.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout probability of the attention weights.
        drop_path_rate (`float`, *optional*, defaults to 0.0):
            Stochastic depth rate of the last layer; it grows linearly from 0 at the first one.
        hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation function of the MLPs.
        use_absolute_embeddings (`bool`, *optional*, defaults to `False`):
            Whether to add learned absolute position embeddings to the patch embeddings.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the normal distribution that initializes weight matrices and the mask token.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of every layer normalization, decoder included. transformers' Swin can only represent 1e-5.
        mask_ratio (`float`, *optional*, defaults to 0.75):
            Share of the mask units that pre-training hides, in the open interval (0, 1).
        norm_pix_loss (`bool`, *optional*, defaults to `True`):
            Whether the decoder predicts pixels normalized by the mean and the variance of their mask unit.
        decoder_hidden_size (`int`, *optional*, defaults to 512):
            Number of channels of the decoder. Must be divisible by 4, for the sine-cosine positions.
        decoder_num_hidden_layers (`int`, *optional*, defaults to 1):
            Number of layers of the decoder.
        decoder_num_attention_heads (`int`, *optional*, defaults to 16):
            Number of attention heads of the decoder.
        decoder_intermediate_size (`int`, *optional*, defaults to 2048):
            Number of hidden channels of the decoder's MLPs.
        out_features (`list[str]`, *optional*):
            Names of the stages a backbone returns, out of `"stem"`, `"stage1"`, `"stage2"`, ...
        out_indices (`list[int]`, *optional*):
            The same by index, 0 being the stem.

    Raises:
        `ValueError`: if a value does not fit the others, or an unknown argument is close to the name of a known one.

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, GreenMimModel

    >>> # Initializing a tiny configuration, and a model with random weights from it
    >>> configuration = GreenMimConfig(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
    >>> model = GreenMimModel(configuration)

    >>> # Accessing the model configuration
    >>> model.config.mask_unit_size
    32
    ```"""

    model_type = "greenmim"

    attribute_map = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    image_size: int | list[int] | tuple[int, int] = 224
    patch_size: int = 4
    num_channels: int = 3
    embed_dim: int = 128
    depths: list[int] | tuple[int, ...] = (2, 2, 18, 2)
    num_heads: list[int] | tuple[int, ...] = (4, 8, 16, 32)
    window_size: int = 7
    mlp_ratio: float | int = 4.0
    qkv_bias: bool = True
    hidden_dropout_prob: float | int = 0.0
    attention_probs_dropout_prob: float | int = 0.0
    drop_path_rate: float | int = 0.0
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    mask_ratio: float | int = 0.75
    norm_pix_loss: bool = True
    decoder_hidden_size: int = 512
    decoder_num_hidden_layers: int = 1
    decoder_num_attention_heads: int = 16
    decoder_intermediate_size: int = 2048
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs):
        if self.transformers_version is None:  # not one that was saved, with whatever attributes it had
            self._refuse_misspelt(kwargs)
        for name in _DERIVED_FIELDS:
            if name in kwargs and (value := kwargs.pop(name)) != getattr(self, name):
                raise ValueError(
                    f"`{name}={value!r}` contradicts `depths={list(self.depths)}` and `embed_dim={self.embed_dim}`, from "
                    f"which {getattr(self, name)!r} follows. Leave it out."
                )
        if isinstance(kwargs.get("out_features"), str):
            raise ValueError(f"`out_features` must be a list, such as ['stage1'], but is {kwargs['out_features']!r}.")
        self.set_output_features_output_indices(
            out_indices=kwargs.pop("out_indices", None), out_features=kwargs.pop("out_features", None)
        )
        super().__post_init__(**kwargs)

    @property
    def num_layers(self) -> int:
        """Number of stages."""
        return len(self.depths)

    @property
    def hidden_size(self) -> int:
        """Number of channels of the last stage, under the name that models built on top of an encoder look for."""
        return self.hidden_sizes[-1]

    @property
    def stage_names(self) -> list[str]:
        """Names of the embeddings and of each stage."""
        return ["stem"] + [f"stage{idx}" for idx in range(1, self.num_layers + 1)]

    def to_dict(self) -> dict:
        """With what follows from the fields, for those who read it without this class."""
        return super().to_dict() | {name: getattr(self, name) for name in ("num_layers", "hidden_size", "stage_names")}

    @property
    def mask_unit_size(self) -> int:
        """Side of a mask unit in pixels: the square that becomes one token of the last stage."""
        return self.patch_size * 2 ** (self.num_layers - 1)

    @property
    def image_height_and_width(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else tuple(self.image_size)

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Number of channels of each stage."""
        return tuple(self.embed_dim * 2**stage for stage in range(self.num_layers))

    @classmethod
    def _refuse_misspelt(cls, unknown_kwargs: dict):
        """`PreTrainedConfig` turns any keyword into an attribute, so that a misspelt one would have no effect."""
        own_fields = set(cls.__annotations__) | set(cls.attribute_map)
        for name, value in unknown_kwargs.items():
            if name in own_fields or hasattr(PreTrainedConfig, name) or hasattr(cls, name):
                continue
            matches = difflib.get_close_matches(name, own_fields, n=1, cutoff=0.85)
            if match := _OTHER_NAMES.get(name, *matches):
                raise ValueError(f"Unknown argument `{name}={value!r}`. Did you mean `{match}`?")

    def validate_architecture(self):
        """Part of `@strict`-powered validation. Validates the architecture of the config."""
        if len(self.image_height_and_width) != 2 or min(self.image_height_and_width) < self.patch_size:
            raise ValueError(
                f"`image_size` must be one or two sides of at least one patch ({self.patch_size} pixels), but is "
                f"{self.image_size}."
            )
        if self.use_absolute_embeddings and any(side % self.patch_size for side in self.image_height_and_width):
            raise ValueError(
                f"With `use_absolute_embeddings`, `image_size={self.image_size}` must be a multiple of "
                f"`patch_size={self.patch_size}`."
            )
        if len(self.depths) == 0 or len(self.depths) != len(self.num_heads):
            raise ValueError(
                f"`depths` and `num_heads` need one entry for each stage, but have {len(self.depths)} "
                f"({list(self.depths)}) and {len(self.num_heads)} ({list(self.num_heads)})."
            )
        for name in (
            "patch_size",
            "num_channels",
            "embed_dim",
            "window_size",
            "mlp_ratio",
            "decoder_num_attention_heads",
            "decoder_intermediate_size",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"`{name}` must be positive, but is {getattr(self, name)}.")
        stages = zip(self.hidden_sizes, self.depths, self.num_heads)
        for stage, (hidden_size, depth, num_heads) in enumerate(stages, start=1):
            if depth < 1 or num_heads < 1:
                raise ValueError(
                    f"Stage {stage} needs at least one layer and one head, but has {depth} and {num_heads}."
                )
            if hidden_size % num_heads != 0:
                raise ValueError(
                    f"The {hidden_size} channels of stage {stage} (`embed_dim={self.embed_dim}`) are not divisible by "
                    f"its {num_heads} heads: change `embed_dim` or `num_heads`."
                )
        if not 0.0 < self.mask_ratio < 1.0:
            raise ValueError(f"`mask_ratio` must lie between 0 and 1, both excluded, but is {self.mask_ratio}.")
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"`{name}` must be at least 0 and below 1, but is {getattr(self, name)}.")
        if self.decoder_hidden_size <= 0 or self.decoder_hidden_size % 4 != 0:
            raise ValueError(
                f"`decoder_hidden_size` must be a positive multiple of 4, for the sine-cosine positions, but is "
                f"{self.decoder_hidden_size}."
            )
        if self.decoder_hidden_size % self.decoder_num_attention_heads != 0:
            raise ValueError(
                f"`decoder_hidden_size={self.decoder_hidden_size}` is not divisible by "
                f"`decoder_num_attention_heads={self.decoder_num_attention_heads}`: change one of them."
            )


# what timm, Swin, MAE and SimMIM call fields of ours
_OTHER_NAMES = {
    "ape": "use_absolute_embeddings",
    "decoder_depth": "decoder_num_hidden_layers",
    "decoder_embed_dim": "decoder_hidden_size",
    "decoder_num_heads": "decoder_num_attention_heads",
    "decoder_num_layers": "decoder_num_hidden_layers",
    "drop_path": "drop_path_rate",
    "img_size": "image_size",
    "in_chans": "num_channels",
    "norm_pix": "norm_pix_loss",
    "window": "window_size",
}
# written to config.json, and read back as keywords, though they follow from the fields above
_DERIVED_FIELDS = ("num_layers", "num_hidden_layers", "hidden_size", "stage_names")

__all__ = ["GreenMimConfig"]
