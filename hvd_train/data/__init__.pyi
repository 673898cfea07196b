from .arrays import in_cache as in_cache
from .augment import Augmentation as Augmentation
from .augment import Mixup as Mixup
from .augment import augments as augments
from .augment import require_possible_augmentation as require_possible_augmentation
from .balance import loss_weights as loss_weights
from .balance import make_plan as make_plan
from .cache import converted_before as converted_before
from .cache import prepare as prepare
from .cache import user_cache_dir as user_cache_dir
from .categories.encoding import Encoding as Encoding
from .conversion.converter import Tell as Tell
from .conversion.converter import convert as convert
from .conversion.spill import ShowProgress as ShowProgress
from .conversion.writing import write_error as write_error
from .dataset import Dataset as Dataset
from .dataset import Rows as Rows
from .dataset import file_sha256 as file_sha256
from .dataset import read_metadata as read_metadata
from .description import describe as describe
from .description import save_histogram as save_histogram
from .download import fetch as fetch
from .matching import missing_columns as missing_columns
from .new_rows import NewRows as NewRows
from .new_rows import know_categories as know_categories
from .new_rows import read_table_for_prediction as read_table_for_prediction
from .parts.converter import Workers as Workers
from .parts.converter import convert_in_parts as convert_in_parts
from .parts.rows import Part as Part
from .parts.rows import PartSpec as PartSpec
from .parts.rows import flat_batch as flat_batch
from .parts.rows import write_part as write_part
from .parts.store import Store as Store
from .parts.store import is_url as is_url
from .plan import EpochPlan as EpochPlan
from .schema import NUM_OFFICIAL_TRAIN_SONGS as NUM_OFFICIAL_TRAIN_SONGS
from .schema import NUM_SONG_TIMBRES as NUM_SONG_TIMBRES
from .schema import NUM_SONGS as NUM_SONGS
from .schema import Columns as Columns
from .schema import Schema as Schema
from .series.lengths import series_in_words as series_in_words
from .sharding import default_num_virtual_shards as default_num_virtual_shards
from .sharding import in_words as in_words
from .sharding import nearest_divisors as nearest_divisors
from .sharding import nearest_multiples as nearest_multiples
from .sharding import own_shards as own_shards
from .sources import Chunk as Chunk
from .sources import Table as Table
from .sources import TableFormat as TableFormat
from .sources.arrow import ArrowTable as ArrowTable
from .standardization import Standard as Standard
from .statistics import Statistics as Statistics
from .targets import make_target_table as make_target_table

__all__ = [
    "NUM_OFFICIAL_TRAIN_SONGS",
    "NUM_SONGS",
    "NUM_SONG_TIMBRES",
    "ArrowTable",
    "Augmentation",
    "Chunk",
    "Columns",
    "Dataset",
    "Encoding",
    "EpochPlan",
    "Mixup",
    "NewRows",
    "Part",
    "PartSpec",
    "Rows",
    "Schema",
    "ShowProgress",
    "Standard",
    "Statistics",
    "Store",
    "Table",
    "TableFormat",
    "Tell",
    "Workers",
    "augments",
    "convert",
    "convert_in_parts",
    "converted_before",
    "default_num_virtual_shards",
    "describe",
    "fetch",
    "file_sha256",
    "flat_batch",
    "in_cache",
    "in_words",
    "is_url",
    "know_categories",
    "loss_weights",
    "make_plan",
    "make_target_table",
    "missing_columns",
    "nearest_divisors",
    "nearest_multiples",
    "own_shards",
    "prepare",
    "read_metadata",
    "read_table_for_prediction",
    "require_possible_augmentation",
    "save_histogram",
    "series_in_words",
    "user_cache_dir",
    "write_error",
    "write_part",
]
