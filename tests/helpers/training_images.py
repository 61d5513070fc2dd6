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
"""Images for the tests of modeling_greenmim/training. The gray value of each encodes its number."""

import io
import tarfile
from pathlib import Path

import PIL.Image
import pyarrow.parquet
from datasets import Dataset, Features, Image


NUM_IMAGES = 20
SHARDS = (7, 9, 4)


def encode(index: int, size=(12, 12), mode="L", image_format="PNG", **options) -> bytes:
    """Create an image of one gray value."""
    content = io.BytesIO()
    PIL.Image.new("L", size, index).convert(mode).save(content, image_format, **options)
    return content.getvalue()


def write_files(folder: Path, indices=range(NUM_IMAGES)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in indices:
        (folder / f"{index:02d}.png").write_bytes(encode(index))
    return folder


def write_parquet(path: Path, contents: list[bytes | None], rows_per_group: int = 2, paths=None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = paths or [None] * len(contents)
    images = [{"bytes": content, "path": name} for content, name in zip(contents, paths)]
    images = [None if image == {"bytes": None, "path": None} else image for image in images]
    dataset = Dataset.from_dict({"image": images}, features=Features({"image": Image()}))
    dataset.to_parquet(path, batch_size=rows_per_group)
    return path


def damage_row_group(path: Path, group: int):
    """Overwrite the data of a row group but not the footer."""
    column = pyarrow.parquet.read_metadata(path).row_group(group).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)


def write_tar(path: Path, indices) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for index in indices:
            for extension, content in {"png": encode(index), "cls": str(index % 2).encode()}.items():
                member = tarfile.TarInfo(f"{index:02d}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def write_folders(folder: Path) -> Path:
    """Write the same images as `files`, `parquet` and `tars`."""
    write_files(folder / "files")
    first = 0
    for shard, number in enumerate(SHARDS):
        indices = range(first, first + number)
        write_parquet(folder / "parquet" / f"{shard}.parquet", [encode(index) for index in indices])
        write_tar(folder / "tars" / f"{shard}.tar", indices)
        first += number
    return folder
