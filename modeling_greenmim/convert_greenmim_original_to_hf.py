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
"""
Convert checkpoints of the original GreenMIM implementation to transformers.

The checkpoint layout was derived from the tensors. This module uses no code of the original implementation, which is
under CC BY-NC 4.0. The converted weights stay under that license, and the model card says so.
"""

import argparse
import pickle
import re
from pathlib import Path

import torch

from .bias_tables import center_table
from .checkpoint_folders import create_folder, make_image_processor
from .configuration_greenmim import GreenMimConfig
from .model_card import describe_encoder, make_model_card
from .modeling_greenmim import GreenMimForMaskedImageModeling
from .reconstruction_greenmim import get_2d_sincos_position_embeddings


RENAMED_KEYS = [
    (r"^encoder\.patch_embed\.proj\.", "greenmim.embeddings.patch_embeddings.projection."),
    (r"^encoder\.patch_embed\.norm\.", "greenmim.embeddings.norm."),
    (r"^encoder\.norm\.", "greenmim.layernorm."),
    (r"^encoder\.layers\.", "greenmim.encoder.layers."),
    (r"^mask_token$", "decoder.mask_token"),
    (r"^decoder_blocks\.", "decoder.decoder_layers."),
    (r"^(decoder_(?:embed|norm|pred))\.", r"decoder.\1."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.relative_position_bias_table$", ".attention.relative_position_bias.relative_position_bias_table"),
    (r"\.attn\.qkv\.", ".attention.qkv."),
]
# buffers that our model recomputes
RECOMPUTED_KEYS = re.compile(r"(\.relative_position_index|\.attn_mask|^decoder_pos_embed)$")

USAGE = """
import modeling_greenmim  # registers the Auto classes
from transformers import AutoModel

model = AutoModel.from_pretrained("path/to/this/folder")
"""


def load_original_state_dict(checkpoint_path: str | Path) -> dict[str, torch.Tensor]:
    """
    Read the weights of a checkpoint without running any code that it may contain.

    Args:
        checkpoint_path (`str` or `Path`):
            A file saved by `torch.save`: a state dict, or a dict with a state dict under `"model"`.

    Returns:
        `dict[str, torch.Tensor]`: the state dict with its original names.

    Raises:
        `ValueError`: if the file contains anything else.
    """
    try:
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"Cannot read {checkpoint_path} safely because it is not a checkpoint of tensors only. If it also "
            "contains other objects, such as training arguments, save only its `['model']` entry. "
            f"({type(error).__name__}: {error})"
        ) from error
    state_dict = checkpoint.get("model", checkpoint) if isinstance(checkpoint, dict) else checkpoint
    if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise ValueError(
            f"{checkpoint_path} must contain a state dict, directly or under 'model', but contains no state dict."
        )
    return state_dict


def infer_config(
    state_dict: dict[str, torch.Tensor], decoder_num_attention_heads: int | None = None, norm_pix_loss: bool = True
) -> GreenMimConfig:
    """
    Infer the configuration of a checkpoint from its tensor shapes.

    Args:
        state_dict (`dict[str, torch.Tensor]`):
            Weights with their original names.
        decoder_num_attention_heads (`int`, *optional*):
            Attention heads of the decoder, which cannot be inferred from the tensors. Defaults to 16 if the decoder is
            512 wide, as in the published models.
        norm_pix_loss (`bool`, *optional*, defaults to `True`):
            Whether the model was trained on normalized pixels, which cannot be inferred from the tensors either.

    Returns:
        [`GreenMimConfig`]

    Raises:
        `ValueError`: if a tensor is missing, or if `decoder_num_attention_heads` must be passed but is not.
    """
    try:
        embed_dim, num_channels, patch_size, _ = state_dict["encoder.patch_embed.proj.weight"].shape
        num_units, decoder_hidden_size = state_dict["decoder_pos_embed"].shape[1:]
        num_stages = _count(state_dict, r"encoder\.layers\.(\d+)\.")
        depths = [_count(state_dict, rf"encoder\.layers\.{stage}\.blocks\.(\d+)\.") for stage in range(num_stages)]
        tables = [_get_bias_table(state_dict, stage) for stage in range(num_stages)]
        intermediate_size = state_dict["encoder.layers.0.blocks.0.mlp.fc1.weight"].shape[0]
        decoder_intermediate_size = state_dict["decoder_blocks.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise ValueError(f"The file is not a GreenMIM checkpoint because it has no tensor {error}.") from error
    if decoder_num_attention_heads is None:
        if decoder_hidden_size != 512:
            raise ValueError(
                "Cannot infer the number of decoder heads because the decoder is "
                f"{decoder_hidden_size} wide, not 512 as in the published models. Pass --decoder_num_attention_heads."
            )
        decoder_num_attention_heads = 16
    grid_side = round(num_units**0.5)
    if grid_side**2 != num_units:
        raise ValueError(f"`decoder_pos_embed` must be for a square number of mask units, got {num_units}.")
    return GreenMimConfig(
        image_size=grid_side * patch_size * 2 ** (num_stages - 1),
        patch_size=patch_size,
        num_channels=num_channels,
        embed_dim=embed_dim,
        depths=depths,
        num_heads=[table.shape[1] for table in tables],
        # a stage whose grid is smaller than the window has a smaller table
        window_size=max(_get_table_window(table) for table in tables),
        mlp_ratio=intermediate_size / embed_dim,
        qkv_bias="encoder.layers.0.blocks.0.attn.qkv.bias" in state_dict,
        layer_norm_eps=1e-6,
        reconstruction_target="normalized_pixels" if norm_pix_loss else "pixels",
        decoder_hidden_size=decoder_hidden_size,
        decoder_num_hidden_layers=_count(state_dict, r"decoder_blocks\.(\d+)\."),
        decoder_num_attention_heads=decoder_num_attention_heads,
        decoder_intermediate_size=decoder_intermediate_size,
    )


def convert_state_dict(
    state_dict: dict[str, torch.Tensor], config: GreenMimConfig, swapped_merging: bool = False
) -> dict[str, torch.Tensor]:
    """
    Rename the weights, split the fused projections and center small bias tables in large ones.

    Args:
        state_dict (`dict[str, torch.Tensor]`):
            Weights with their original names.
        config ([`GreenMimConfig`]):
            Configuration of the model.
        swapped_merging (`bool`, *optional*, defaults to `False`):
            Whether patch merging concatenates row 0 column 1 before row 1 column 0, as in checkpoints from 2022.

    Returns:
        `dict[str, torch.Tensor]`: weights with the names of [`GreenMimForMaskedImageModeling`]. Weights that it does
        not have keep their original names.
    """
    converted = {}
    for key, tensor in state_dict.items():
        if RECOMPUTED_KEYS.search(key):
            continue
        for pattern, replacement in RENAMED_KEYS:
            key = re.sub(pattern, replacement, key)
        if ".attention.qkv." in key:
            for name, part in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3)):
                converted[key.replace(".qkv.", f".{name}.")] = part.clone()
        elif key.endswith("relative_position_bias_table"):
            converted[key] = center_table(tensor, config.window_size)
        elif swapped_merging and ".downsample." in key:
            quarters = tensor.chunk(4, dim=-1)
            converted[key] = torch.cat([quarters[0], quarters[2], quarters[1], quarters[3]], dim=-1)
        else:
            converted[key] = tensor
    return converted


def convert_greenmim_original_to_hf(
    checkpoint_path: str | Path,
    output_dir: str | Path,
    decoder_num_attention_heads: int | None = None,
    norm_pix_loss: bool = True,
    swapped_merging: bool = False,
) -> GreenMimForMaskedImageModeling:
    """
    Convert a checkpoint of the original implementation to a folder with weights, configuration, image processor and
    card.

    Args:
        checkpoint_path (`str` or `Path`):
            Checkpoint of the original implementation.
        output_dir (`str` or `Path`):
            Folder to write. It must be new or empty.
        decoder_num_attention_heads (`int`, *optional*):
            See [`infer_config`].
        norm_pix_loss (`bool`, *optional*, defaults to `True`):
            See [`infer_config`].
        swapped_merging (`bool`, *optional*, defaults to `False`):
            See [`convert_state_dict`].

    Returns:
        [`GreenMimForMaskedImageModeling`]: the converted model.

    Raises:
        `ValueError`: if the file is not such a checkpoint, a weight is missing or has an unexpected shape, the decoder
        positions are not sine-cosine embeddings, or the output folder is not empty. In these cases, nothing is
        written.
    """
    with create_folder(output_dir) as folder:
        return _convert(checkpoint_path, folder, decoder_num_attention_heads, norm_pix_loss, swapped_merging)


def _convert(
    checkpoint_path: str | Path,
    output_dir: Path,
    decoder_num_attention_heads: int | None,
    norm_pix_loss: bool,
    swapped_merging: bool,
) -> GreenMimForMaskedImageModeling:
    state_dict = load_original_state_dict(checkpoint_path)
    config = infer_config(state_dict, decoder_num_attention_heads, norm_pix_loss)
    _check_positions(state_dict["decoder_pos_embed"][0])

    model = GreenMimForMaskedImageModeling(config)
    converted = convert_state_dict(state_dict, config, swapped_merging)
    expected = model.state_dict()
    missing = sorted(expected.keys() - converted.keys())
    unused = sorted(converted.keys() - expected.keys())
    misshapen = [
        f"{key} {tuple(converted[key].shape)}, expected {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in converted and converted[key].shape != tensor.shape
    ]
    print(f"Recomputed, not read: {sum(bool(RECOMPUTED_KEYS.search(key)) for key in state_dict)} tensors")
    print(f"Unused: {', '.join(unused) or 'none'}")
    print(f"Missing: {', '.join(missing) or 'none'}")
    if missing or misshapen:
        raise ValueError(
            f"Cannot convert the checkpoint because weights do not match. Missing: {', '.join(missing) or 'none'}. "
            f"Unexpected shapes: {', '.join(misshapen) or 'none'}."
        )
    model.load_state_dict({key: converted[key] for key in expected})

    model.save_pretrained(output_dir)
    make_image_processor(config).save_pretrained(output_dir)
    _write_card(config, Path(checkpoint_path).name, output_dir)
    return model


def _count(state_dict: dict[str, torch.Tensor], pattern: str) -> int:
    """Count the modules of a list by their keys."""
    return len({match[1] for key in state_dict if (match := re.match(pattern, key))})


def _get_bias_table(state_dict: dict[str, torch.Tensor], stage: int) -> torch.Tensor:
    return state_dict[f"encoder.layers.{stage}.blocks.0.attn.relative_position_bias_table"]


def _get_table_window(table: torch.Tensor) -> int:
    """Window size of a table with `(2 * window_size - 1)**2` rows."""
    return (round(table.shape[0] ** 0.5) + 1) // 2


def _check_positions(positions: torch.Tensor):
    side = round(positions.shape[0] ** 0.5)
    difference = (positions - get_2d_sincos_position_embeddings((side, side), positions.shape[1])).abs().max().item()
    if difference > 1e-4:
        raise ValueError(
            "Cannot convert the checkpoint because its `decoder_pos_embed` differs by up to "
            f"{difference:.1e} from the sine-cosine positions of our decoder."
        )


def _write_card(config: GreenMimConfig, source: str, output_dir: Path):
    card = make_model_card(
        title="GreenMIM, converted from the original implementation",
        summary=f"A {describe_encoder(config)} pre-trained with [GreenMIM](https://huggingface.co/papers/2205.13515).",
        usage=USAGE,
        provenance=(
            f"Converted from the file `{source}` of the original implementation. The file does not record the "
            "training data or settings."
        ),
        not_measured=["The accuracy of this model on any task."],
        license={"license": "cc-by-nc-4.0"},
    )
    card.save(output_dir / "README.md")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--checkpoint_path", required=True, help="Checkpoint of the original implementation (.pth).")
    parser.add_argument("--output_dir", required=True, help="Folder to write. It must be new or empty.")
    parser.add_argument(
        "--decoder_num_attention_heads",
        type=int,
        help="Attention heads of the decoder, which cannot be inferred from the file. Default: 16 if the decoder is "
        "512 wide, as in the published models.",
    )
    parser.add_argument(
        "--no_norm_pix_loss",
        action="store_true",
        help="Convert a checkpoint that was trained on plain pixels. Default: pixels normalized within each mask "
        "unit.",
    )
    parser.add_argument(
        "--swapped_merging",
        action="store_true",
        help="Convert a checkpoint from 2022, in which the second and third quarters of patch merging are swapped.",
    )
    args = parser.parse_args()
    try:
        convert_greenmim_original_to_hf(
            args.checkpoint_path,
            args.output_dir,
            decoder_num_attention_heads=args.decoder_num_attention_heads,
            norm_pix_loss=not args.no_norm_pix_loss,
            swapped_merging=args.swapped_merging,
        )
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"Wrote {args.output_dir}. The weights stay under CC BY-NC 4.0.")


if __name__ == "__main__":
    main()
