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

import copy
import functools
from collections.abc import Callable
from numbers import Integral
from typing import Any

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers.backbone_utils import BackboneConfigMixin
from transformers.configuration_utils import PreTrainedConfig

from .validation_greenmim import check_choice, check_count, check_number, describe, find_meant_name


class GreenMimConfigError(StrictDataclassError, ValueError):
    """Invalid configuration value. Unlike the errors of `@strict`, it is also a `ValueError`."""


def raise_value_errors(config_class: type) -> type:
    """Make the methods that `@strict` wraps raise a [`GreenMimConfigError`] with the message of the failed check."""

    def wrap(method: Callable) -> Callable:
        @functools.wraps(method)
        def wrapper(*args, **kwargs) -> Any:
            try:
                return method(*args, **kwargs)
            except (StrictDataclassError, ValueError) as error:
                cause = error.__cause__ or error
                raise GreenMimConfigError(str(cause)) from cause

        return wrapper

    for name in ("__setattr__", "validate"):
        setattr(config_class, name, wrap(getattr(config_class, name)))
    return config_class


@raise_value_errors
@strict
class GreenMimConfig(BackboneConfigMixin, PreTrainedConfig):
    r"""
    This is the configuration class to store the configuration of a [`GreenMimModel`] and of the models built on it. It
    defines the architecture of a hierarchical vision transformer and of the decoder that pre-trains it. The defaults
    describe the Swin-B of the GreenMIM paper, at 224 pixels with windows of 7 x 7 patches.

    Configuration objects inherit from [`PreTrainedConfig`] and can be used to control the model outputs. Read the
    documentation from [`PreTrainedConfig`] for more information.

    Args:
        image_size (`int`, `list[int]` or `tuple[int, int]`, *optional*, defaults to 224):
            Size of the images in pixels, (height, width). The model also accepts other sizes.
        patch_size (`int`, *optional*, defaults to 4):
            Side of a patch in pixels.
        patch_kernel_size (`int`, *optional*):
            Side in pixels of the squares that are embedded, at least `patch_size`, which is the stride. Larger squares
            overlap, such as 7 pixels with patches of 4 in T2T-ViT. Hidden pixels contribute zero. By default
            `patch_size`.
        num_channels (`int`, *optional*, defaults to 3):
            Number of channels of the images.
        embed_dim (`int`, *optional*, defaults to 128):
            Number of channels of the patch embeddings and of the first stage.
        depths (`list[int]` or `tuple[int, ...]`, *optional*, defaults to `(2, 2, 18, 2)`):
            Number of layers in each stage.
        hidden_sizes (`list[int]`, `tuple[int, ...]` or `int`, *optional*):
            Number of channels of each stage, or one number for all stages. By default, it starts at `embed_dim` and
            doubles with each stage.
        num_heads (`list[int]`, `tuple[int, ...]` or `int`, *optional*, defaults to `(4, 8, 16, 32)`):
            Number of attention heads of each stage, or one number for all stages.
        token_mixers (`list[list[str]]`, *optional*):
            Names of the token mixers of each stage, cycled over its layers: `"window"`, `"shifted_window"`,
            `"mask_unit"`, `"spatial_reduction"`, `"global"`, `"dilated"` or `"cluster"`, or a name added to
            `TOKEN_MIXERS`. A single name can replace the list of a stage or the whole list. By default, every stage
            has Swin's `["window", "shifted_window"]`.
        window_size (`int`, *optional*, defaults to 7):
            Side of the attention windows in tokens.
        attention_similarity (`str`, *optional*, defaults to `"dot_product"`):
            Similarity of queries and keys in the encoder: `"dot_product"`, or `"cosine"` with a learned scale for each
            head and keys without bias, as in Swin V2.
        position_bias (`str`, *optional*, defaults to `"table"`):
            Source of the biases in window and mask unit attention: a learned `"table"`, or `"continuous"`, an MLP over
            the offsets that fits every window size, as in Swin V2. With `"none"`, there are no biases, as in Twins.
        score_modulation (`str`, *optional*):
            Factors that multiply the scores of window and mask unit attention before the position bias is added:
            `"gaussian_mixture"` is a learned mixture of Gaussians over the distance of two tokens, for each layer and
            head. Attention is then eager.
        pretrained_window_sizes (`list[int]` or `tuple[int, ...]`, *optional*):
            Side of the windows that the continuous position bias of each stage was trained with, which normalizes its
            offsets. By default, the side of the windows, or of the stage's grid at `image_size` if that is smaller.
        norm_placement (`str`, *optional*, defaults to `"before"`):
            Whether the norms of a layer come `"before"` its attention and its MLP, or `"after"` them, as in Swin V2.
        norm_type (`str`, *optional*, defaults to `"layer"`):
            Norms of a layer: `"layer"` normalizes each token, `"group"` normalizes all visible tokens of an image
            together, as in Context Clusters.
        merging_norm_placement (`str`, *optional*, defaults to `"before"`):
            Whether the norm of the patch merging comes `"before"` its projection, or `"after"` it, as in Swin V2 and
            Twins.
        merging_bias (`bool`, *optional*, defaults to `False`):
            Whether the projection of the patch merging has a bias, as in Twins.
        merging (`str`, *optional*, defaults to `"projection"`):
            How tokens merge into one token of the next stage: by a `"projection"`, or by their `"mean"`, which has no
            weights and works between stages of equal `hidden_sizes`.
        merging_kernel_size (`int`, *optional*):
            Side in tokens of the squares that merge into one token, at least 2, which is the stride. Squares of 3
            overlap, as in PVTv2. A convolution merges the tokens, with a norm of each token. Hidden tokens contribute
            zero. By default, 2 x 2 tokens merge as in Swin.
        conditional_position_encoding (`bool`, *optional*, defaults to `False`):
            Whether each stage applies a 3 x 3 depth-wise convolution to its tokens after its first layer and adds the
            result to them, as in Twins.
        mlp_ratio (`float`, `list[float]` or `tuple[float, ...]`, *optional*, defaults to 4.0):
            Ratio of the MLP's hidden channels to the channels of its stage: one ratio for all stages, or one for each.
        qkv_bias (`bool`, *optional*, defaults to `True`):
            Whether queries, keys and values have a bias.
        hidden_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout probability in the embeddings and the layers.
        attention_probs_dropout_prob (`float`, *optional*, defaults to 0.0):
            Dropout probability of the attention weights.
        drop_path_rate (`float`, *optional*, defaults to 0.0):
            Stochastic depth rate of the last layer. The rate grows linearly from 0 at the first layer.
        hidden_act (`str`, *optional*, defaults to `"gelu"`):
            Activation function of the MLPs.
        use_absolute_embeddings (`bool`, *optional*, defaults to `False`):
            Whether to add learned absolute position embeddings to the patch embeddings.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of the normal distribution that initializes weight matrices and the mask token.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of every layer normalization, including the decoder's. transformers' Swin can only represent 1e-5.
        embedding_norm (`bool`, *optional*, defaults to `True`):
            Whether the patch embeddings are normalized. Swin normalizes them, a plain ViT does not.
        embedding_norm_eps (`float`, *optional*):
            Epsilon of the norms in the patch embeddings, the patch merging and spatial reduction. In Twins, it differs
            from the epsilon of the other norms. By default `layer_norm_eps`.
        mask_ratio (`float`, *optional*, defaults to 0.75):
            Fraction of the mask units that pre-training hides, in the open interval (0, 1).
        secondary_mask_ratio (`float`, *optional*, defaults to 0.0):
            Fraction of the visible units whose tokens pre-training replaces with a learned token, as in UM-MAE, at
            least 0 and below 1. The collator draws these units; the model replaces the units in
            `secondary_masked_pos`.
        reconstruction_target (`str`, *optional*, defaults to `"normalized_pixels"`):
            Prediction target of the decoders for each cell, which is the pixels of one token of their stage:
            `"pixels"`, `"normalized_pixels"`, normalized by the mean and the variance of the cell, `"hog"`, or a name
            added to `RECONSTRUCTION_TARGETS`. Configurations saved by version 0.1 have `norm_pix_loss` instead: `True`
            for `"normalized_pixels"`, `False` for `"pixels"`.
        reconstruction_weight (`float`, *optional*, defaults to 1.0):
            Weight of the reconstruction in the loss. With 0, there is no decoder, and `teacher_hidden_size` is
            required.
        decoder_stages (`list[int]` or `tuple[int, ...]`, *optional*):
            Stages that have a decoder, counted from 1, in ascending order. Each decoder reads the tokens of its stage
            after their merging. By default, only the last stage has one.
        decoder_loss_weights (`float`, `list[float]` or `tuple[float, ...]`, *optional*, defaults to 1.0):
            Weight of each decoder in the reconstruction loss, or one weight for all.
        decoder_attention (`str`, *optional*, defaults to `"self"`):
            `"self"`: visible tokens and mask tokens attend to each other, as in MAE. `"cross"`: each mask token
            attends only to the visible tokens, as in CrossMAE.
        decoder_hidden_ratio (`float`, *optional*, defaults to 1.0):
            Fraction of the hidden units that training predicts, drawn at random in each forward pass.
        decoder_hidden_size (`int`, `list[int]` or `tuple[int, ...]`, *optional*, defaults to 512):
            Number of channels of each decoder, or one number for all. Must be divisible by 4, for the sine-cosine
            positions.
        decoder_num_hidden_layers (`int`, `list[int]` or `tuple[int, ...]`, *optional*, defaults to 1):
            Number of layers of each decoder, or one number for all.
        decoder_num_attention_heads (`int`, `list[int]` or `tuple[int, ...]`, *optional*, defaults to 16):
            Number of attention heads of each decoder, or one number for all.
        decoder_intermediate_size (`int`, `list[int]` or `tuple[int, ...]`, *optional*, defaults to 2048):
            Number of hidden MLP channels of each decoder, or one number for all.
        teacher_hidden_size (`int`, *optional*):
            Number of channels of a frozen teacher's features, which training then also predicts, see
            [`GreenMimForMaskedImageModeling.forward`]. By default, there is no teacher.
        teacher_loss_weight (`float`, *optional*, defaults to 1.0):
            Weight of the teacher loss in the total loss.
        out_features (`list[str]`, *optional*):
            Names of the stages that a backbone returns: `"stem"`, `"stage1"`, `"stage2"`, ...
        out_indices (`list[int]`, *optional*):
            Indices of these stages, where 0 is the stem.

    Raises:
        `ValueError`: if a value does not fit the others, or an unknown argument resembles a known one.

    Example:

    ```python
    >>> from modeling_greenmim import GreenMimConfig, GreenMimModel

    >>> # Initializing a tiny configuration, and a model with random weights from it
    >>> configuration = GreenMimConfig(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24))
    >>> model = GreenMimModel(configuration)

    >>> # Accessing the model configuration
    >>> model.config.mask_unit_size
    32

    >>> # Other token mixers: attention inside mask units, then among all visible tokens, as in Hiera
    >>> configuration = GreenMimConfig(token_mixers=["mask_unit", "mask_unit", "global", "global"])
    >>> configuration.token_mixers
    [['mask_unit'], ['mask_unit'], ['global'], ['global']]
    ```"""

    model_type = "greenmim"

    attribute_map = {"num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    image_size: int | list[int] | tuple[int, int] = 224
    patch_size: int = 4
    patch_kernel_size: int | None = None
    num_channels: int = 3
    embed_dim: int = 128
    depths: list[int] | tuple[int, ...] = (2, 2, 18, 2)
    num_heads: int | list[int] | tuple[int, ...] = (4, 8, 16, 32)
    window_size: int = 7
    attention_similarity: str = "dot_product"
    position_bias: str = "table"
    score_modulation: str | None = None
    pretrained_window_sizes: list[int] | tuple[int, ...] | None = None
    norm_placement: str = "before"
    norm_type: str = "layer"
    merging_norm_placement: str = "before"
    merging_bias: bool = False
    merging: str = "projection"
    merging_kernel_size: int | None = None
    conditional_position_encoding: bool = False
    mlp_ratio: float | int | list[float | int] | tuple[float | int, ...] = 4.0
    qkv_bias: bool = True
    hidden_dropout_prob: float | int = 0.0
    attention_probs_dropout_prob: float | int = 0.0
    drop_path_rate: float | int = 0.0
    hidden_act: str = "gelu"
    use_absolute_embeddings: bool = False
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    embedding_norm: bool = True
    embedding_norm_eps: float | None = None
    mask_ratio: float | int = 0.75
    secondary_mask_ratio: float | int = 0.0
    reconstruction_target: str = "normalized_pixels"
    reconstruction_weight: float | int = 1.0
    decoder_loss_weights: float | int | list[float | int] | tuple[float | int, ...] = 1.0
    decoder_attention: str = "self"
    decoder_hidden_ratio: float | int = 1.0
    decoder_hidden_size: int | list[int] | tuple[int, ...] = 512
    decoder_num_hidden_layers: int | list[int] | tuple[int, ...] = 1
    decoder_num_attention_heads: int | list[int] | tuple[int, ...] = 16
    decoder_intermediate_size: int | list[int] | tuple[int, ...] = 2048
    teacher_hidden_size: int | None = None
    teacher_loss_weight: float | int = 1.0
    _decoder_stages: list[int] | None = None
    _hidden_sizes: list[int] | None = None
    _token_mixers: list | None = None
    _out_features: list[str] | None = None
    _out_indices: list[int] | None = None

    def __post_init__(self, **kwargs):
        if self.transformers_version is None:  # a saved configuration may have any attributes
            self._check_spelling(kwargs)
        for name in ("hidden_sizes", "token_mixers", "decoder_stages"):
            setattr(self, name, kwargs.pop(name, None))
        if (norm_pix_loss := kwargs.pop("norm_pix_loss", None)) is not None:
            self.norm_pix_loss = norm_pix_loss
        for name in _DERIVED_FIELDS:
            if name in kwargs and (value := kwargs.pop(name)) != getattr(self, name):
                raise ValueError(
                    f"`{name}` must be {getattr(self, name)!r}, as `depths={self.depths}` and "
                    f"`hidden_sizes={self.hidden_sizes}` determine, got {value!r}. Omit it."
                )
        if isinstance(kwargs.get("out_features"), str):
            raise ValueError(f"`out_features` must be a list, such as ['stage1'], got {kwargs['out_features']!r}.")
        self.set_output_features_output_indices(
            out_indices=kwargs.pop("out_indices", None), out_features=kwargs.pop("out_features", None)
        )
        super().__post_init__(**kwargs)

    def __setattr__(self, name, value):
        """Store values in their JSON form, so that a configuration equals the one loaded from its file."""
        if name == "num_heads" and isinstance(value, int):
            value = [value] * len(self.depths)
        if name in _LIMITS and value is not None:
            for number in value if isinstance(value, (list, tuple)) else [value]:
                check_number(name, number, **_LIMITS[name])
        super().__setattr__(name, list(value) if isinstance(value, tuple) else value)

    @property
    def hidden_sizes(self) -> list[int]:
        """Number of channels of each stage, as a copy: assign a list to change it."""
        return self._get_default_hidden_sizes() if self._hidden_sizes is None else list(self._hidden_sizes)

    @hidden_sizes.setter
    def hidden_sizes(self, hidden_sizes: list[int] | tuple[int, ...] | int | None):
        if isinstance(hidden_sizes, int):
            hidden_sizes = [hidden_sizes] * self.num_layers
        if hidden_sizes is not None:
            if not isinstance(hidden_sizes, (list, tuple)) or not all(type(size) is int for size in hidden_sizes):
                raise ValueError(
                    f"`hidden_sizes` must be a list of integers, one for each stage, got {describe(hidden_sizes)}."
                )
            hidden_sizes = list(hidden_sizes)
        # default sizes are not stored: they follow later changes of other fields, as by a keyword of `from_pretrained`
        self._hidden_sizes = None if hidden_sizes == self._get_default_hidden_sizes() else hidden_sizes

    def _get_default_hidden_sizes(self) -> list[int]:
        return [self.embed_dim * 2**stage for stage in range(self.num_layers)]

    @property
    def token_mixers(self) -> list[list[str]]:
        """Names of the token mixers of each stage, cycled over its layers, as a copy: assign a list to change it."""
        return self._get_default_token_mixers() if self._token_mixers is None else copy.deepcopy(self._token_mixers)

    @token_mixers.setter
    def token_mixers(self, token_mixers: list[list[str] | str] | tuple | str | None):
        if isinstance(token_mixers, str):
            token_mixers = [token_mixers] * self.num_layers
        if token_mixers is not None:
            sequences = (str, list, tuple)
            if not isinstance(token_mixers, sequences) or not all(
                isinstance(names, sequences) for names in token_mixers
            ):
                raise ValueError(
                    "`token_mixers` must be a list with a name, or a list of names, for each stage, such as "
                    f"[['window', 'shifted_window'], 'global'], got {token_mixers!r}."
                )
            token_mixers = [[names] if isinstance(names, str) else list(names) for names in token_mixers]
        self._token_mixers = None if token_mixers == self._get_default_token_mixers() else token_mixers

    def _get_default_token_mixers(self) -> list[list[str]]:
        return [["window", "shifted_window"] for _ in self.depths]

    @property
    def decoder_stages(self) -> list[int]:
        """Stages that have a decoder, counted from 1, as a copy: assign a list to change it."""
        return [self.num_layers] if self._decoder_stages is None else list(self._decoder_stages)

    @decoder_stages.setter
    def decoder_stages(self, decoder_stages: list[int] | tuple[int, ...] | None):
        if decoder_stages is not None:
            if not isinstance(decoder_stages, (list, tuple)) or not all(
                type(stage) is int for stage in decoder_stages
            ):
                raise ValueError(
                    f"`decoder_stages` must be a list of integers, such as [3, 4], got {describe(decoder_stages)}."
                )
            decoder_stages = list(decoder_stages)
        self._decoder_stages = None if decoder_stages == [self.num_layers] else decoder_stages

    @property
    def norm_pix_loss(self) -> bool:
        """Whether decoders predict pixels that are normalized by the mean and the variance of their cell."""
        return self.reconstruction_target == "normalized_pixels"

    @norm_pix_loss.setter
    def norm_pix_loss(self, norm_pix_loss: bool):
        self.reconstruction_target = "normalized_pixels" if norm_pix_loss else "pixels"

    def get_decoder_setting(self, name: str, stage: int):
        """Value of a field such as `decoder_hidden_size` for the decoder of a stage, counted from 1."""
        value = getattr(self, name)
        return value[self.decoder_stages.index(stage)] if isinstance(value, list) else value

    def get_cell_size(self, stage: int) -> int:
        """
        Side in pixels of the cells that the decoder of a stage, counted from 1, predicts: one token after the merging.
        """
        return self.patch_size * 2 ** min(stage, self.num_layers - 1)

    def get_layer_mixers(self, stage: int) -> list[str]:
        """Names of the token mixers of all layers in a stage."""
        names = self.token_mixers[stage]
        return [names[layer % len(names)] for layer in range(self.depths[stage])]

    def get_unit_side(self, stage: int) -> int:
        """Number of tokens along a side of a mask unit in a stage."""
        return 2 ** (self.num_layers - 1 - stage)

    @property
    def mlp_ratios(self) -> list[float]:
        """Ratio of the MLP's hidden channels to the channels of each stage."""
        return self.mlp_ratio if isinstance(self.mlp_ratio, list) else [self.mlp_ratio] * self.num_layers  # type: ignore[list-item]

    @property
    def is_swin(self) -> bool:
        """
        Whether the encoder is a plain Swin Transformer: its token mixers, doubling channels, one ratio for all MLPs.
        """
        return self._has_swin_shape and all(getattr(self, name) == choices[0] for name, choices in _CHOICES.items())

    @property
    def is_swin_v2(self) -> bool:
        """Whether the encoder is a plain Swin Transformer V2."""
        return self._has_swin_shape and all(getattr(self, name) == choices[1] for name, choices in _CHOICES.items())

    @property
    def _has_swin_shape(self) -> bool:
        has_other_modules = any(getattr(self, name) != value for name, value in VALUES_OF_SWINS.items())
        has_swin_stages = self._hidden_sizes is None and self._token_mixers is None and len(set(self.mlp_ratios)) == 1
        return has_swin_stages and not has_other_modules

    def get_bias_window_size(self, stage: int, window_size: int) -> int:
        """Window side that normalizes the offsets of a continuous position bias in a stage, counted from 0."""
        if self.pretrained_window_sizes is not None and self.pretrained_window_sizes[stage] > 0:
            return self.pretrained_window_sizes[stage]
        stage_side = -(-min(self.image_height_and_width) // (self.patch_size * 2**stage))
        return min(window_size, stage_side)

    def get_embedding_norm_eps(self) -> float:
        """Epsilon of the norms in patch embeddings, patch merging and spatial reduction."""
        return self.layer_norm_eps if self.embedding_norm_eps is None else self.embedding_norm_eps

    @property
    def num_layers(self) -> int:
        """Number of stages."""
        return len(self.depths)

    @property
    def hidden_size(self) -> int:
        """Number of channels of the last stage, under the name that models built on an encoder read."""
        return self.hidden_sizes[-1]

    @property
    def stage_names(self) -> list[str]:
        """Names of the embeddings and of each stage."""
        return ["stem"] + [f"stage{idx}" for idx in range(1, self.num_layers + 1)]

    def to_dict(self) -> dict:
        """Dictionary of the fields and the values derived from them, for readers without this class."""
        names = ("num_layers", "hidden_size", "hidden_sizes", "stage_names", "token_mixers", "decoder_stages")
        settings = super().to_dict() | {name: getattr(self, name) for name in names}
        return {
            name: value
            for name, value in settings.items()
            if name not in ("_hidden_sizes", "_token_mixers", "_decoder_stages")
        }

    def get_architecture(self) -> dict:
        """The fields that a model is built from. A later change of them has no effect, or a wrong one."""
        fields = self.__dict__
        architecture = {name: fields[name] for name in _ARCHITECTURE_FIELDS}
        if self.use_absolute_embeddings or self.position_bias == "continuous":
            architecture["image_size"] = self.image_size
        return architecture

    @property
    def mask_unit_size(self) -> int:
        """Side of a mask unit in pixels: the square that becomes one token of the last stage."""
        return self.patch_size * self.get_unit_side(0)

    @property
    def image_height_and_width(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else tuple(self.image_size)  # type: ignore[return-value]

    @classmethod
    def _check_spelling(cls, unknown_kwargs: dict):
        """
        Reject misspelled keywords: `PreTrainedConfig` turns any keyword into an attribute, so they would have no
        effect.
        """
        own_fields = {name.removeprefix("_") for name in cls.__annotations__} | set(cls.attribute_map)
        for name, value in unknown_kwargs.items():
            if name in own_fields or hasattr(PreTrainedConfig, name) or hasattr(cls, name):
                continue
            if match := _OTHER_NAMES.get(name, find_meant_name(name, own_fields)):
                raise ValueError(f"Unknown argument `{name}={value!r}`. Did you mean `{match}`?")

    def validate_architecture(self):
        """Part of `@strict`-powered validation. Validates the architecture of the config."""
        if len(self.image_height_and_width) != 2 or min(self.image_height_and_width) < self.patch_size:
            raise ValueError(
                f"`image_size` must be one or two sides of at least `patch_size={self.patch_size}` pixels, got "
                f"{self.image_size}."
            )
        if self.use_absolute_embeddings and any(side % self.patch_size for side in self.image_height_and_width):
            raise ValueError(
                f"`image_size` must be a multiple of `patch_size={self.patch_size}` with "
                f"`use_absolute_embeddings=True`, got {self.image_size}."
            )
        if len(self.depths) == 0:
            raise ValueError(
                "`depths` must have at least one entry, got none. Pass the number of layers of each stage."
            )
        per_stage = {name: getattr(self, name) for name in ("num_heads", "hidden_sizes", "token_mixers")}
        for name, values in {**per_stage, "mlp_ratio": self.mlp_ratios}.items():
            if len(values) != self.num_layers:
                raise ValueError(
                    f"`{name}` must have one entry for each of the {self.num_layers} stages in "
                    f"`depths={self.depths}`, got {len(values)} ({values})."
                )
        if self.hidden_sizes[0] != self.embed_dim:
            raise ValueError(
                f"`hidden_sizes` must start with `embed_dim={self.embed_dim}`, got {self.hidden_sizes}. Pass "
                f"`embed_dim={self.hidden_sizes[0]}` as well."
            )
        for stage, names in enumerate(self.token_mixers, start=1):
            if not names or not all(isinstance(name, str) for name in names):
                raise ValueError(
                    "`token_mixers` must be a list of names for each stage, such as ['window', 'shifted_window'], "
                    f"got {names} for stage {stage}."
                )
        for name, stride in (("patch_kernel_size", self.patch_size), ("merging_kernel_size", 2)):
            if (kernel_size := getattr(self, name)) is not None:
                check_count(name, kernel_size, at_least=stride)
        if self.merging == "mean" and (
            len(set(self.hidden_sizes)) > 1 or self.merging_bias or self.merging_kernel_size is not None
        ):
            raise ValueError(
                f"Cannot use `merging='mean'` with `hidden_sizes={self.hidden_sizes}`, "
                f"`merging_bias={self.merging_bias}` and `merging_kernel_size={self.merging_kernel_size}` because it "
                "has no weights. Use equal `hidden_sizes`, and omit `merging_bias` and `merging_kernel_size`."
            )
        stages = zip(self.hidden_sizes, self.depths, self.num_heads, self.mlp_ratios)
        for stage, (hidden_size, depth, num_heads, mlp_ratio) in enumerate(stages, start=1):
            if depth < 1 or num_heads < 1 or hidden_size < 1 or int(mlp_ratio * hidden_size) < 1:
                raise ValueError(
                    f"Stage {stage} must have at least one layer, one head, one channel and one MLP channel, got "
                    f"{depth} layers, {num_heads} heads, {hidden_size} channels and `mlp_ratio` {mlp_ratio}."
                )
            if hidden_size % num_heads != 0:
                raise ValueError(
                    f"The channels of stage {stage} must be divisible by its {num_heads} heads, got {hidden_size} "
                    f"channels (`hidden_sizes={self.hidden_sizes}`, `embed_dim={self.embed_dim}`). Change one of them."
                )
        for name, choices in {**_CHOICES, **_OTHER_CHOICES}.items():
            check_choice(name, getattr(self, name), choices)
        window_sizes = self.pretrained_window_sizes
        if window_sizes is not None and len(window_sizes) != self.num_layers:
            raise ValueError(
                f"`pretrained_window_sizes` must have one entry for each of the {self.num_layers} stages, got "
                f"{window_sizes}."
            )
        self._validate_decoders()

    def _validate_decoders(self):
        stages = self.decoder_stages
        if stages != sorted(set(stages)) or not stages or stages[0] < 1 or stages[-1] > self.num_layers:
            raise ValueError(
                f"`decoder_stages` must be ascending numbers of stages, from 1 to {self.num_layers}, got {stages}."
            )
        if self.num_layers not in stages and self.teacher_hidden_size is None:
            raise ValueError(
                f"`decoder_stages` must contain the last stage, {self.num_layers}, got {stages}. Add it, or pass "
                "`teacher_hidden_size`: otherwise, nothing trains the last stage."
            )
        for name in (
            "decoder_loss_weights",
            "decoder_hidden_size",
            "decoder_num_hidden_layers",
            "decoder_num_attention_heads",
            "decoder_intermediate_size",
        ):
            values = getattr(self, name)
            if isinstance(values, list) and len(values) != len(stages):
                raise ValueError(
                    f"`{name}` must have one entry for each of the {len(stages)} stages in `decoder_stages={stages}`, "
                    f"got {values}."
                )
        for stage in stages:
            hidden_size = self.get_decoder_setting("decoder_hidden_size", stage)
            num_heads = self.get_decoder_setting("decoder_num_attention_heads", stage)
            if hidden_size % 4 != 0:
                raise ValueError(
                    f"`decoder_hidden_size` must be a multiple of 4, for the sine-cosine positions, got {hidden_size}."
                )
            if hidden_size % num_heads != 0:
                raise ValueError(
                    f"`decoder_hidden_size` must be divisible by `decoder_num_attention_heads={num_heads}`, got "
                    f"{hidden_size}. Change one of them."
                )
        if self.reconstruction_weight == 0 and self.teacher_hidden_size is None:
            raise ValueError(
                "`reconstruction_weight` must be above 0 for a model without a teacher, which has nothing else to "
                "predict, got 0. Pass `teacher_hidden_size`."
            )


_COUNT = {"at_least": 1, "kind": Integral}
_PROBABILITY = {"at_least": 0, "below": 1}
# limits of single numbers; dependencies between fields are checked when a configuration, or a model from it, is made
_LIMITS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("patch_size", "num_channels", "embed_dim", "window_size", "teacher_hidden_size"), _COUNT),
    **dict.fromkeys(("decoder_hidden_size", "decoder_num_attention_heads", "decoder_intermediate_size"), _COUNT),
    **dict.fromkeys(("decoder_num_hidden_layers", "pretrained_window_sizes"), {"at_least": 0, "kind": Integral}),
    **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"), _PROBABILITY),
    "secondary_mask_ratio": _PROBABILITY,
    **dict.fromkeys(("layer_norm_eps", "embedding_norm_eps", "mlp_ratio"), {"above": 0}),
    **dict.fromkeys(("reconstruction_weight", "teacher_loss_weight", "decoder_loss_weights"), {"at_least": 0}),
    "initializer_range": {"at_least": 0},
    "mask_ratio": {"above": 0, "below": 1},
    "decoder_hidden_ratio": {"above": 0, "at_most": 1},
}
# fields whose changes take effect in existing models
_CHANGEABLE_FIELDS = {
    "image_size",
    "mask_ratio",
    "reconstruction_weight",
    "decoder_hidden_ratio",
    "teacher_loss_weight",
    "_out_features",
    "_out_indices",
}
# values of Swin, of Swin V2, and of neither
_CHOICES = {
    "attention_similarity": ("dot_product", "cosine"),
    "position_bias": ("table", "continuous", "none"),
    "norm_placement": ("before", "after"),
    "merging_norm_placement": ("before", "after"),
}
# fields with the same choice in Swin and Swin V2
_OTHER_CHOICES: dict[str, tuple] = {
    "norm_type": ("layer", "group"),
    "score_modulation": (None, "gaussian_mixture"),
    "merging": ("projection", "mean"),
    "decoder_attention": ("self", "cross"),
}
# fields that change the modules of an encoder, and their values in Swin and Swin V2
VALUES_OF_SWINS = {
    "merging_bias": False,
    "conditional_position_encoding": False,
    "embedding_norm": True,
    "embedding_norm_eps": None,
    "patch_kernel_size": None,
    "merging": "projection",
    "merging_kernel_size": None,
    "norm_type": "layer",
    "score_modulation": None,
}
# names that timm, Swin, MAE and SimMIM use for our fields
_OTHER_NAMES = {
    "ape": "use_absolute_embeddings",
    "decoder_depth": "decoder_num_hidden_layers",
    "decoder_embed_dim": "decoder_hidden_size",
    "decoder_num_heads": "decoder_num_attention_heads",
    "decoder_num_layers": "decoder_num_hidden_layers",
    "drop_path": "drop_path_rate",
    "img_size": "image_size",
    "in_chans": "num_channels",
    "norm_pix": "reconstruction_target",
    "target": "reconstruction_target",
    "window": "window_size",
}
# derived from the fields above, but in config.json and so among the keywords when it is loaded
_DERIVED_FIELDS = ("num_layers", "num_hidden_layers", "hidden_size", "stage_names")

_ARCHITECTURE_FIELDS = tuple(name for name in GreenMimConfig.__annotations__ if name not in _CHANGEABLE_FIELDS)

__all__ = ["GreenMimConfig"]
